"""What takes over an account: credentials, tokens, keys, sessions, links and codes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from indelible.logs.scrub.dress import (
    judge_code,
    judge_quoted,
    judge_random,
    judge_secret,
    named,
    option,
)
from indelible.logs.scrub.judges import found_in, value_in
from indelible.logs.scrub.model import Judge, Rule, Span


def _judge_basic(match: re.Match[str]) -> Span | None:
    """Base64 of a name, a colon and a password."""
    value = value_in(match)
    try:
        plain = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return found_in(match) if b":" in plain else None


def _judge_bearer(match: re.Match[str]) -> Span | None:
    """A token behind its scheme: longer than a word, or with digits in it."""
    value = value_in(match)
    return found_in(match) if len(value) >= 20 or re.search(r"[0-9]", value) else None


def _judge_link(match: re.Match[str]) -> Span | None:
    """A value of a query: digits alone, digits among letters, or long."""
    value = value_in(match)
    return found_in(match) if value.isdigit() or len(value) >= 20 else judge_random(match)


def _judge_cookie(match: re.Match[str]) -> Span | None:
    """More than a word about cookies."""
    return None if re.fullmatch(r"\W{0,64}|\w{1,12}", value_in(match)) else found_in(match)


def _judge_recovery(match: re.Match[str]) -> Span | None:
    """The codes of a list, up to the first word that is none."""
    start, end = found_in(match)
    last = start
    for word in re.finditer(r"[a-z0-9\-]{1,64}", match.string[start:end]):
        if not re.search(r"[0-9]", word[0]) or len(word[0]) < 4:
            break
        last = start + word.end()
    return (start, last) if last > start else None


def _named(kind: str, names: str, *words: str) -> tuple[Rule, ...]:
    return (*named(kind, "takeover", names, words, judge_secret), option(kind, names))


def _issued(kind: str, pattern: str, shape: str, *words: str) -> Rule:
    """A token that its issuer's prefix gives away; upper and lower case count."""
    return Rule(kind, "takeover", pattern, words, shape, folded=False)


def _rule(
    kind: str, pattern: str, words: tuple[str, ...], shape: str = "", judge: Judge | None = None
) -> Rule:
    return Rule(kind, "takeover", pattern, words, shape, judge)


_KEYS: Final = (
    "private|signing|encryption|master|account|shared[_ -]?access|api|app|application|service|"
    "deploy|license|access|admin|auth|write"
)
_CONFIRMED: Final = "reset|activation|confirmation|invite|invitation|access|verification"
_LINKS: Final = (
    *("reset", "recover", "confirm", "verif", "activat", "invit", "magic", "login", "signin"),
    *("auth", "token", "unsubscribe", "set-password", "forgot", "one-time", "accept", "share"),
)
_CODES: Final = (
    r"\botp\b|_otp\b|\btotp\b|one[_\- ]?time[_\- ]?(?:code|pass\w{0,4}|pin)?|"
    r"(?:verification|security|confirmation|access|sms|(?:log|sign)[_\- ]?in|auth\w{0,12})"
    r"[_\- ]?code|(?<![a-z0-9])[2m]fa\w{0,8}|passcode|\byour (?:\w{1,12} )?code"
)

SECRET_RULES: Final[tuple[Rule, ...]] = (
    *_named(
        "password",
        r"passw(?:or)?d|passwort|pass[_\- ]?phrase|passcode|kennwort|mot[_ ]de[_ ]passe|"
        r"contrase(?:n|ñ|Ñ)a|wachtwoord|senha|(?<![a-z])(?:pwd|passw?|pw)(?![a-z])",
        *("pass", "phrase", "kennwort", "contrase", "wachtwoord", "senha", "pwd", "pw"),
    ),
    *_named(
        "secret-key",
        rf"secret(?:[_\-]?(?:access[_\-]?)?(?:key|id))?|(?:{_KEYS})[_\- ]?key(?!\w{{0,20}}[_\-]id)|"
        r"credentials?|mnemonic|seed[_\- ]?phrase|security[_\- ]?answer|maiden[_\- ]?name|"
        r"(?<![a-z])hmac(?![a-z])",
        *("secret", "key", "credential", "mnemonic", "seed", "security", "maiden", "hmac"),
    ),
    *_named(
        "token",
        r"token|(?<![a-z])jwt(?![a-z])|assertion|saml[_\-]?response|code[_\-]?verifier|"
        rf"magic[_\-]?link|(?:{_CONFIRMED})[_\-]?(?:key|hash)|x-amz-signature|x-goog-signature",
        *("token", "jwt", "assertion", "saml", "verifier", "magic", "-signature", "key", "hash"),
    ),
    *_named(
        "session",
        r"session[_\-]?(?:id|key|token|hash|cookie)?|(?<![a-z])(?:sid|jsessionid|phpsessid|sessid|"
        r"asp\.net_sessionid|connect\.sid|sessdata)(?![a-z])|(?<![a-z])(?:xsrf|csrf)",
        *("sess", "sid", "csrf", "xsrf"),
    ),
    _rule(
        "cookie",
        r"(?<![a-z])cookies?\\{0,7}[\"'`]?\s{0,3}(?:=>|[:=,])\s{0,3}\\{0,7}[\"'\[({]{0,2}"
        r"([^\"'\r\n\\]{1,4096})",
        ("cookie",),
        r"cookies?[\\\"'`]*\s*[:=,]",
        _judge_cookie,
    ),
    _rule(
        "authorization",
        r"authorization\\{0,7}[\"'`]?\s{0,3}(?:=>|[:=,])\s{0,3}[\[(]?b?\\{0,7}[\"']?"
        r"(?:(?:[a-z]{2,20}|aws4-hmac-sha256)[ =](?=[^\s=]{8}))?([^\s\"'\\<]{4,4096})",
        ("authorization",),
        r"authorization[\\\"'`]*\s*[:=,]",
        _judge_bearer,
    ),
    Rule(
        "authorization",
        "takeover",
        r"(?i:\bbasic)(?:\s|%20|\+)([A-Za-z0-9+/]{6,2048}={0,2})",
        ("basic",),
        r"basic(?:\s|%20|\+)[a-z0-9+/]{6}",
        _judge_basic,
        folded=False,
    ),
    _rule(
        "authorization",
        r"\bbearer(?:\s|%20|\+|:\s?|=)([a-z0-9+/_.~\-]{8,4096}={0,2})(?![=\w])",
        ("bearer",),
        r"bearer(?:\s|%20|\+|:\s?|=)[a-z0-9+/_.~\-]{8}",
        _judge_bearer,
    ),
    _issued(
        "jwt",
        r"eyJ[\w\-]{8,2048}\.[\w\-]{4,4096}\.[\w\-.]{0,4096}",
        r"eyj[a-z0-9_\-]{8}",
        "eyj",
    ),
    _rule(
        "private-key",
        r"-----begin [a-z0-9 ]{0,32}private key[a-z ]{0,8}-----[a-z0-9+/=\s\\:,.\-]{0,8192}|"
        r"age-secret-key-1[a-z0-9]{40,80}",
        ("private key", "age-secret-key"),
    ),
    _issued(
        "aws-key",
        r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
        r"(?:akia|asia|abia|acca)[a-z0-9]{16}",
        *("akia", "asia", "abia", "acca"),
    ),
    _issued(
        "github-token",
        r"gh[pousr]_[A-Za-z0-9]{20,255}|github_pat_[A-Za-z0-9_]{22,255}",
        r"gh[pousr]_[a-z0-9]{20}|github_pat_",
        *("ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    ),
    _issued(
        "gitlab-token",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|agent|oas)-[\w\-.]{20,300}",
        r"gl[a-z]{2,5}-[a-z0-9_\-.]{20}",
        "gl",
    ),
    _issued(
        "slack-token",
        r"xox[abeoprs]-[\w\-]{10,255}|xapp-[\w\-]{10,255}|hooks\.slack\.com/[\w/]{20,200}",
        r"xox[a-s]-|xapp-|hooks\.slack\.com/",
        *("xox", "xapp-", "hooks.slack.com/"),
    ),
    _issued(
        "stripe-key",
        r"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,255}|whsec_[A-Za-z0-9+/=]{20,255}",
        r"[rs]k_(?:live|test)_|whsec_",
        *("k_live_", "k_test_", "whsec_"),
    ),
    _issued(
        "google-key",
        r"AIza[\w\-]{30,40}|ya29\.[\w\-]{20,2048}|GOCSPX-[\w\-]{20,64}|1//0[\w\-]{30,255}",
        r"aiza[a-z0-9_\-]{30}|ya29\.|gocspx-|1//0",
        *("aiza", "ya29.", "gocspx-", "1//0"),
    ),
    _issued(
        "service-token",
        r"\bsk-[\w\-]{20,255}|\bSK[0-9a-f]{32}\b|SG\.[\w\-]{16,32}\.[\w\-]{16,64}|"
        r"\bkey-[0-9a-f]{32}\b|npm_[A-Za-z0-9]{30,64}|pypi-[\w\-]{50,255}|"
        r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|do[opr]_v1_[0-9a-f]{64}|"
        r"(?<![0-9])[0-9]{8,10}:AA[\w\-]{33}|hf_[A-Za-z]{30,40}|dapi[0-9a-f]{32}|"
        r"\bhv[sbr]\.[\w\-]{20,255}|lin_api_[A-Za-z0-9]{20,64}|ntn_[A-Za-z0-9]{40,64}|"
        r"dp\.pt\.\w{40,64}|ATATT3[\w\-=]{50,255}|EAA[A-Za-z0-9]{50,255}|"
        r"sq0(?:atp|csp)-[\w\-]{20,64}|\b[sp]k\.eyJ[\w\-.]{20,255}|glsa_\w{30,64}|"
        r"rubygems_[0-9a-f]{48}|dckr_pat_[\w\-]{20,64}|sntrys_[\w+/=]{40,512}|"
        r"discord(?:app)?\.com/api/webhooks/[0-9]{10,24}/[\w\-]{30,120}|"
        r"webhook\.office\.com/[\w@/\-]{30,255}|xkeysib-[0-9a-f\-]{60,100}|"
        r"PMAK-[0-9a-f\-]{50,80}|NRAK-[A-Z0-9]{20,40}|phc_[A-Za-z0-9]{30,60}|tfp_[\w\-]{30,80}",
        r"[^a-z0-9_](?:sk-[a-z0-9_\-]{20}|sk[0-9a-f]{32}|key-[0-9a-f]{32}|hv[sbr]\.)|"
        r"sg\.[a-z0-9_\-]{16,32}\.|npm_[a-z0-9]{30}|pypi-[a-z0-9_\-]{50}|shp[acps][ast]_|"
        r"do[opr]_v1_|[0-9]:aa[a-z0-9_\-]{33}|hf_[a-z]{30}|dapi[0-9a-f]{32}|lin_api_|ntn_|"
        r"dp\.pt\.|atatt3|eaa[a-z0-9]{50}|sq0(?:atp|csp)-|[sp]k\.eyj|glsa_|rubygems_|dckr_pat_|"
        r"sntrys_|api/webhooks/|webhook\.office|xkeysib-|pmak-|nrak-|phc_|tfp_",
        *("sk-", "sk", "sg.", "key-", "npm_", "pypi-", "shp", "_v1_", ":aa", "hf_", "dapi", "hv"),
        *("lin_api_", "ntn_", "dp.pt.", "atatt3", "eaa", "sq0", "k.eyj", "glsa_", "rubygems_"),
        *("dckr_pat_", "sntrys_", "webhook", "xkeysib-", "pmak-", "nrak-", "phc_", "tfp_"),
    ),
    _rule(
        "url-password",
        r"[a-z][a-z0-9+.\-]{1,24}://[^\s/?#@:\"'<>]{0,128}:([^\s/\"'<>]{1,256})@|"
        r"https?://((?=[a-z_]{0,40}[0-9])[\w\-]{16,128})@",
        ("://",),
        r"://[^\s/\"'<>]+@",
    ),
    _rule("totp-seed", r"otpauth://[^\s\"'<>]{1,512}", ("otpauth://",)),
    _rule(
        "reset-link",
        rf"/[\w\-]{{0,24}}(?:{'|'.join(_LINKS)})[\w\-]{{0,24}}/(?:[\w\-=.~]{{1,80}}/)?"
        r"([\w\-=.~%:]{8,512})",
        _LINKS,
        rf"(?:{'|'.join(_LINKS)})[a-z0-9_\-]*/(?:[a-z0-9_\-=.~]+/)?[a-z0-9_\-=.~%:]{{8}}",
        judge_random,
    ),
    _rule(
        "link-secret",
        r"[?&;](?:amp;)?(?:code|key|k|t|sig|signature|ticket|auth|hash|h|otp|pin|login|access|nonce|"
        r"state|confirmation|invite|link|se?cret|sessionid|api_?key|signed|hmac)="
        r"([^\s&\"'<>#\\]{6,2048})",
        ("=",),
        r"[?&;](?:code|key|k|t|sig|signature|ticket|auth|hash|h|otp|pin|login|access|nonce|state|"
        r"confirmation|invite|link|se?cret|sessionid|api_?key|signed|hmac)=[^\s&]{6}|;[a-z_]+=",
        _judge_link,
    ),
    _rule(
        "one-time-code",
        rf"(?:{_CODES})[^0-9\n]{{0,24}}\b([0-9]{{3}}[ \-][0-9]{{3}}|[0-9]{{4,8}})\b"
        r"(?![.:/\-][0-9])",
        ("otp", "one", "code", "2fa", "mfa"),
        r"(?:otp|one[_\- ]?time(?:[_\- ]?pass[a-z0-9_]*)?|code|[2m]fa[a-z0-9_]*)[^0-9\n]*"
        r"[0-9]{3}[ \-]?[0-9]",
        judge_code,
    ),
    _rule(
        "one-time-code",
        r"\b(?:g-)?([0-9]{4,8}|[0-9]{3}[ \-][0-9]{3})\s(?:is|as)\s(?:your|the|a)\s[^\n0-9]{0,40}"
        r"\b(?:code|pin|passcode|password)\b",
        ("as", "is"),
        r"[0-9]\s(?:is|as)\s(?:your|the|a)\s",
    ),
    _rule(
        "pin",
        r"(?<![a-z])pin(?![a-z])(?:[_\- ]?code)?[^a-z0-9\n]{1,6}"
        r"(?:(?:is|was|number|to|code|=|:)[^a-z0-9\n]{1,4})?([0-9]{4,12})\b",
        ("pin",),
        r"[^a-z]pin(?:[_\- ]?code)?[^a-z0-9\n]+(?:[a-z=:]+[^a-z0-9\n]+)?[0-9]{4}",
        judge_code,
    ),
    _rule(
        "recovery-code",
        r"(?:recovery|backup|scratch|rescue|emergency)[_\- ]?(?:codes?|keys?)[^a-z0-9]{0,12}"
        r"(?:(?:is|are|was|were|issued|used)[^a-z0-9]{1,4})?([a-z0-9\-][a-z0-9\-\"',;|\s\\]{3,800})",
        ("recovery", "backup", "scratch", "rescue", "emergency"),
        r"(?:recovery|backup|scratch|rescue|emergency)[_\- ]?(?:code|key)",
        _judge_recovery,
    ),
    _rule(
        "password",
        r"\b(?:curl|wget|http|https)\s[^\n|;]{0,200}?\s-u\s[\"']?[^\s:\"']{1,64}:([^\s\"']{1,256})",
        ("-u",),
        r"\s-u\s[\"']?[^\s:\"']+:",
    ),
    _rule(
        "password",
        r"\b(?:identified (?:with \w{1,40} )?by|password)\s{1,2}'([^']{1,256})'",
        ("identified", "password"),
        r"(?: by|password)\s{1,2}'",
        judge_quoted,
    ),
)
