"""The demo: a sandbox game provider, a sandbox PSP and bots that play.

All of them are strangers to Countroom: they know its addresses and its secrets, talk HTTP, and
import none of its business rooms. ``seed.py`` alone goes through a room's door: it writes the
demo's reference data, which nobody can send over HTTP.
"""
