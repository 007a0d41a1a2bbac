"""PostgreSQL's enumerations. Generated from the migrations by `make schema`; do not edit."""

from typing import Literal

GameGenre = Literal["slots", "table", "live", "crash", "instant"]
GameRoundStatus = Literal["open", "settled", "cancelled", "unfinished"]
GameSessionEnd = Literal["idle", "lifetime", "unused", "replaced", "account", "exclusion", "player", "staff"]
GameSessionStatus = Literal["open", "closed", "failed"]
GameVolatility = Literal["low", "medium", "high"]
KycStatus = Literal["pending", "verified", "rejected"]
PaymentProvider = Literal["stripe", "paypal", "sandbox"]
PaymentStatus = Literal["pending", "processing", "success", "failed"]
PaymentType = Literal["deposit", "withdrawal"]
ReportFormat = Literal["csv", "excel", "json"]
StaffRole = Literal["admin", "cashier", "analyst", "compliance", "support"]
TransactionStatus = Literal["pending", "success", "failed", "cancelled"]
TransactionType = Literal["deposit", "withdrawal", "bet", "win", "bonus", "adjustment"]
TwoFactorType = Literal["totp", "sms", "email"]
UserStatus = Literal["active", "blocked", "closed"]
WalletType = Literal["main", "bonus", "locked"]
