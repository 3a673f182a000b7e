"""The sign-in: OpenID configuration, tokens for a secret or a signed assertion, and the errors by their numbers.

Tokens are real JWTs with the claims that matter (`aud`, `tid`, `appid`, `roles`, `exp`), signed with a key of this
process. The moment is the one of the machine, not of the simulated mail: the client's assertion carries that too.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from bot.core.clock import Clock
from bot.sandbox.exchange_online.apps import App
from bot.sandbox.exchange_online.faults import Kind, TenantFault, TenantFaults

Json = dict[str, Any]
LIFETIME = timedelta(seconds=3599)
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
GRAPH = "https://graph.microsoft.com"
EXCHANGE = "https://outlook.office365.com"


class SignInError(Exception):
    """No token. `error` is OAuth's word, `number` Microsoft's."""

    def __init__(self, status: int, error: str, number: int, text: str) -> None:
        super().__init__(text)
        self.status, self.error, self.number = status, error, number

    def body(self, now: datetime) -> Json:
        """As the token endpoint says it."""
        trace, correlation, at = str(uuid.uuid4()), str(uuid.uuid4()), f"{now:%Y-%m-%d %H:%M:%SZ}"
        text = f"AADSTS{self.number}: {self} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}"
        return {
            "error": self.error,
            "error_description": text,
            "error_codes": [self.number],
            "timestamp": at,
            "trace_id": trace,
            "correlation_id": correlation,
        }


class BadToken(Exception):
    """A token that this resource doesn't take; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
    """Who asks: the registration as it is now, and what the token was granted."""

    app: App
    permissions: frozenset[str]


class SignIn:
    """Tokens of one tenant. `resources` maps what a scope may name to the audience that stands in the token."""

    def __init__(self, tenant_id: str, apps: Callable[[], Iterable[App]], faults: TenantFaults, clock: Clock) -> None:
        self._tenant_id, self._apps, self._faults, self._clock = tenant_id, apps, faults, clock
        self._key = secrets.token_bytes(32)
        self.resources: dict[str, str] = {GRAPH: GRAPH, EXCHANGE: EXCHANGE}

    def now(self) -> datetime:
        """The moment by this tenant's clock, which may be wrong on demand."""
        return self._clock() + self._faults.ahead

    def revoke(self) -> None:
        """No token that was given out so far is taken any more."""
        self._key = secrets.token_bytes(32)

    def configuration(self, authority: str) -> Json:
        """The answer to the OpenID discovery."""
        return {
            "token_endpoint": f"{authority}/oauth2/v2.0/token",
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "jwks_uri": f"{authority}/discovery/v2.0/keys",
            "issuer": f"{authority}/v2.0",
            "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
            "response_types_supported": ["code", "id_token", "token"],
            "scopes_supported": ["openid"],
        }

    def token(self, form: Mapping[str, str], endpoint: str) -> Json:
        """A token for what this form asks for; SignInError otherwise."""
        if form.get("grant_type") != "client_credentials":
            raise SignInError(400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type.")
        app = self._app(form.get("client_id", ""))
        audience = self._audience(form.get("scope", ""))
        if form.get("client_assertion_type") == ASSERTION:
            self._check_assertion(app, form.get("client_assertion", ""), endpoint)
        else:
            self._check_secret(app, form.get("client_secret", ""))
        return {
            "token_type": "Bearer",
            "expires_in": int(LIFETIME.total_seconds()),
            "ext_expires_in": int(LIFETIME.total_seconds()),
            "access_token": self._issue(app, audience),
        }

    def bearer(self, header: str, audience: str) -> Bearer:
        """Who stands behind an Authorization header, for this audience; BadToken otherwise."""
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise BadToken("Access token is empty.")
        try:
            claims = jwt.decode(
                token,
                self._key,
                algorithms=["HS256"],
                options={"verify_exp": False, "verify_aud": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            raise BadToken("Access token validation failure. Invalid signature.") from None
        if claims["aud"] != audience:
            raise BadToken("Access token validation failure. Invalid audience.")
        if claims["exp"] <= self.now().timestamp():
            raise BadToken("Lifetime validation failed, the token is expired.")
        return Bearer(app=self._app(claims["appid"]), permissions=frozenset(claims["roles"]))

    def _issue(self, app: App, audience: str) -> str:
        now = self.now()
        claims = {
            "aud": audience,
            "iss": f"https://sts.windows.net/{self._tenant_id}/",
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
            "appid": app.client_id,
            "roles": sorted(app.permissions),
            "tid": self._tenant_id,
            "uti": secrets.token_urlsafe(8),
        }
        return jwt.encode(claims, self._key, algorithm="HS256")

    def _app(self, client_id: str) -> App:
        for app in self._apps():
            if app.client_id == client_id:
                return app
        text = f"Application with identifier '{client_id[:80]}' was not found in the directory."
        raise SignInError(400, "unauthorized_client", 700016, text)

    def _audience(self, scope: str) -> str:
        resource, dot, rest = scope.strip().rpartition("/.default")
        if not dot or rest:
            text = f"The provided value for scope {scope[:200]} is not valid. Client credential flows need /.default."
            raise SignInError(400, "invalid_scope", 1002012, text)
        if resource.rstrip("/") not in self.resources:
            text = f"The resource principal named {resource[:200]} was not found in the tenant."
            raise SignInError(400, "invalid_resource", 500011, text)
        return self.resources[resource.rstrip("/")]

    def _check_secret(self, app: App, secret: str) -> None:
        if not secret:
            text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."
            raise SignInError(401, "invalid_client", 7000218, text)
        if not hmac.compare_digest(secret.encode(), app.secret.encode()):
            text = f"Invalid client secret provided for app '{app.client_id}': send the secret's value, not its ID."
            raise SignInError(401, "invalid_client", 7000215, text)
        over = app.secret_ends is not None and app.secret_ends <= self.now()
        if over or self._faults.take(TenantFault.CREDENTIAL_EXPIRED, Kind.SIGN_IN):
            text = f"The provided client secret keys for app '{app.client_id}' are expired."
            raise SignInError(401, "invalid_client", 7000222, text)

    def _check_assertion(self, app: App, assertion: str, endpoint: str) -> None:
        """Signed by a registered certificate, for this endpoint, by this app, and at this moment."""
        certificate = self._certificate(app, assertion)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise _unknown_certificate("The key is of the wrong type.", certificate)
        try:
            claims = jwt.decode(
                assertion,
                key,
                algorithms=["PS256", "RS256"],
                audience=endpoint,
                issuer=app.client_id,
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "require": ["exp", "sub", "jti"],
                },
            )
        except jwt.InvalidAudienceError:
            text = "Client assertion audience claim does not match the token endpoint."
            raise SignInError(401, "invalid_client", 700023, text) from None
        except jwt.InvalidSignatureError:
            raise _unknown_certificate("The key was found, but its signature is wrong.", certificate) from None
        except jwt.InvalidTokenError as error:
            raise SignInError(401, "invalid_client", 50027, f"JWT token is invalid: {error}.") from None
        self._check_moment(claims)

    def _check_moment(self, claims: Mapping[str, Any]) -> None:
        now = self.now()
        since, until = claims.get("nbf", claims.get("iat", 0)), claims["exp"]
        inside = since - 300 <= now.timestamp() < until
        if not inside or self._faults.take(TenantFault.CLOCK_SKEW, Kind.SIGN_IN):
            text = (
                f"Client assertion is not within its valid time range. Current time: {now:%Y-%m-%dT%H:%M:%S}Z, "
                f"assertion valid from {_moment(since)}, expiry time of assertion {_moment(until)}."
            )
            raise SignInError(401, "invalid_client", 700024, text)

    def _certificate(self, app: App, assertion: str) -> x509.Certificate:
        try:
            named = str(jwt.get_unverified_header(assertion).get("x5t#S256", ""))
            thumbprint = urlsafe_b64decode(named + "=" * (-len(named) % 4))
        except (jwt.InvalidTokenError, ValueError):
            raise SignInError(401, "invalid_client", 50027, "JWT token is invalid or malformed.") from None
        found = app.certificates.get(thumbprint)
        if found is None or self._faults.take(TenantFault.CERTIFICATE_UNKNOWN, Kind.SIGN_IN):
            raise _unknown_certificate("The key was not found.", None, thumbprint.hex().upper())
        if not found.not_valid_before_utc <= self.now() < found.not_valid_after_utc:
            raise _unknown_certificate("The key used is expired.", found)
        return found


def _unknown_certificate(why: str, certificate: x509.Certificate | None, thumbprint: str = "") -> SignInError:
    serial = f"{certificate.serial_number:X}" if certificate else thumbprint
    text = (
        "The certificate with identifier used to sign the client assertion is not registered on application. "
        f"[Reason - {why}, Thumbprint of key used by client: '{serial}']"
    )
    return SignInError(401, "invalid_client", 700027, text)


def _moment(epoch: float) -> str:
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%dT%H:%M:%S}Z"
