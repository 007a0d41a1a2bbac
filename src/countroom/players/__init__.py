"""Who is playing: accounts, passwords, sessions, e-mail confirmation, and the staff's own sign-in."""
