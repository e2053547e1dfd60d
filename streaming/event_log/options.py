"""The sizes and timings of the database log."""

import msgspec


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes and timings. The defaults suit every deployment; tests use smaller ones."""

    #: Durable entries that stay in memory for readers that are slightly behind.
    tail_entries: int = 512
    #: Rows that one read fetches at most. One row holds the events of one flush.
    read_rows: int = 200
    #: Numbers that one read covers, apart from the excess of its last row.
    read_numbers: int = 4000
    #: Maximum length of a joined row's text; a longer single row stays as it is.
    compact_chars: int = 64 * 1024
    #: Rows that one transaction of the compaction reads, to keep it short.
    compact_rows: int = 100
    #: A write that takes longer counts as failing.
    slow_seconds: float = 2.0
    #: Time limit of the last write, at shutdown.
    close_seconds: float = 5.0
