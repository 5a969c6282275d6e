"""Whom the end of a study is told: URLs and e-mail addresses that users gave."""
