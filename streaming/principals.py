"""The authenticated caller of a request, or of a run that Python code starts."""

import msgspec

#: The rights that a credential can have; `admin` includes all others.
SCOPES = ("run", "read", "cancel", "approve", "admin")
#: The beginning of the owner of an anonymous caller's conversations.
ANONYMOUS = "anon:"


class Principal(msgspec.Struct, frozen=True):
    """A caller: its organization, its user if it has one, and its rights.

    Conversations and runs belong to an organization and an `owner` in it. A caller has
    access to those with its own organization and owner, and to no others.
    """

    org_id: str
    #: The id of the user, as text; empty for a caller without a user. It is the primary
    #: key of a user of the project only if the kind of `credential` proves that.
    user: str = ""
    #: The owner of its conversations; empty: they belong to the whole organization.
    owner: str = ""
    scopes: frozenset[str] = frozenset({"admin"})
    #: The proof of identity that can be revoked, such as `key:PREFIX`; empty: none.
    credential: str = ""

    def allows(self, scope: str) -> bool:
        """Return whether the caller has a scope."""
        return scope in self.scopes or "admin" in self.scopes

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller is known by a cookie alone."""
        return self.owner.startswith(ANONYMOUS)
