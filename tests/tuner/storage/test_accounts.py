import pytest

from tuner.storage.accounts import caller_of, create_key, keys, revoke_key
from tuner.storage.tables import KeyRow


def test_a_key_says_whose_it_is_until_it_is_revoked(database):
    first, second = create_key(database, "ada"), create_key(database, "ada", ("read",))
    theirs = create_key(database, "grace")
    callers = [caller_of(database, token) for token in (first, second, theirs)]
    assert [c.name for c in callers] == ["ada", "ada", "grace"]
    assert callers[0].user == callers[1].user != callers[2].user
    assert [c.scopes for c in callers] == [("read", "write"), ("read",), ("read", "write")]
    assert revoke_key(database, callers[0].key)
    assert caller_of(database, first) is None
    assert caller_of(database, second) == callers[1]
    assert not revoke_key(database, "nothing")
    assert [(row.revoked, name) for row, name in keys(database)] == [
        (True, "ada"),
        (False, "ada"),
        (False, "grace"),
    ]


def test_keys_are_not_kept(database):
    token = create_key(database, "ada")
    with database.session() as session:
        (row,) = session.query(KeyRow).all()
        kept = " ".join(map(str, vars(row).values()))
    assert token not in kept
    assert token.removeprefix("tk_")[:12] not in kept


@pytest.mark.parametrize("token", ["", "tk_", "tk_nothing", "ä", "x" * 10_000])
def test_what_is_no_key_is_nobodys(database, token):
    create_key(database, "ada")
    assert caller_of(database, token) is None


@pytest.mark.parametrize("scopes", [(), ("read", "root")])
def test_unknown_scopes_are_refused(database, scopes):
    with pytest.raises(ValueError, match="scopes are read, write"):
        create_key(database, "ada", scopes)
