from serving import served

__all__ = ["served"]
