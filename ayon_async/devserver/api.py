"""The AYON paths: which answer each of them gives."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ayon_async.devserver.accounts import Accounts, Refused, token_of
from ayon_async.devserver.archives import archive_reply
from ayon_async.devserver.bundles import bundle_list, patched, settings_summary, update_summary, with_bundle
from ayon_async.devserver.exchange import Ask
from ayon_async.devserver.news import News
from ayon_async.devserver.reply import Reply, error_reply, json_reply
from ayon_async.devserver.signin import sign_in_page, sign_in_post
from ayon_async.devserver.studio import Bundle, Package, Studio

VERSION = "1.16.0+DEVELOP"


@dataclass(slots=True)
class Call:
    """One call of one path: the request, what it asks for, and the parts of the path in its pattern's groups."""

    request: web.BaseRequest
    ask: Ask
    parts: tuple[str, ...] = ()


Handler = Callable[["Api", Call], Awaitable[Reply]]


@dataclass(slots=True)
class Api:
    """The studio behind its paths; the studio is swapped for another value when a call changes something."""

    studio: Studio
    accounts: Accounts
    news: News
    _started: float = field(default_factory=time.monotonic)

    async def answer(self, request: web.BaseRequest, ask: Ask) -> Reply:
        """The right answer to a request."""
        try:
            if request.method == "GET" and request.path in self.studio.files:
                return self._extra_file(request, ask)
            for method, pattern, handler in _ROUTES:
                match = pattern.fullmatch(request.path)
                if match and request.method == method:
                    return await handler(self, Call(request, ask, match.groups()))
        except Refused as refused:
            return error_reply(refused.status, refused.detail)
        return self._not_routed(request)

    def _not_routed(self, request: web.BaseRequest) -> Reply:
        path = request.path
        for prefix, what in (("/api", "API"), ("/addons", "Addon")):
            if path.startswith(prefix):
                return error_reply(404, f"{what} endpoint {path} not found", path=path)
        if request.method != "GET":
            return error_reply(404, f"File {path} not found", path=path)
        return sign_in_page()

    def _extra_file(self, request: web.BaseRequest, ask: Ask) -> Reply:
        if not request.path.startswith("/static/"):
            self.accounts.user_of(self.studio, request)
        return archive_reply(self.studio.files[request.path], request.path, ask)

    # --- who you are ----------------------------------------------------------------------------------------------

    async def info(self, call: Call) -> Reply:
        basics = {"version": VERSION, "uptime": round(time.monotonic() - self._started, 1)}
        offline = {"disableFeedback": True, "offlineMode": True}
        try:
            user = self.accounts.user_of(self.studio, call.request)
        except Refused:
            return json_reply(basics | offline)
        lists: dict[str, Any] = {"sites": [], "ssoOptions": [], "frontendFlags": [], "extras": "", "attributes": []}
        return json_reply(
            basics | {"onboarding": True, "user": user.to_json()} | lists | {"disableChangelog": True} | offline
        )

    async def login(self, call: Call) -> Reply:
        try:
            body = json.loads(await call.request.read())
        except ValueError:
            more = {"input": {}, "ctx": {"error": "Expecting value"}}
            error = {"type": "json_invalid", "loc": ["body", 0], "msg": "JSON decode error", **more}
            return _invalid(call, "0", error)
        for name in ("name", "password"):
            if not isinstance(body, dict) or name not in body:
                error = {"loc": ["body", name], "msg": "field required", "type": "value_error.missing"}
                return _invalid(call, name, error)
        token, user = self.accounts.login(
            self.studio, str(body["name"]), str(body["password"]), call.request.remote or ""
        )
        answer = {"detail": f"Logged in as {user.name}", "error": None, "token": token, "user": user.to_json()}
        return json_reply(answer | {"redirectUrl": None})

    async def logout(self, call: Call) -> Reply:
        self.accounts.end_session(token_of(call.request))
        return json_reply({"detail": "Logged out"})

    async def user(self, call: Call) -> Reply:
        me = self.accounts.user_of(self.studio, call.request)
        [name] = call.parts
        if name in ("me", me.name):
            return json_reply(me.to_json())
        other = next((user for user in self.studio.users if user.name == name), None)
        if other is None:
            return error_reply(404, f"User {name} not found")
        if me.is_admin:
            return json_reply(other.to_json())
        return json_reply({"name": other.name, "attrib": {"fullName": other.full_name}})

    async def sign_in(self, call: Call) -> Reply:
        return await sign_in_post(self.accounts, self.studio, call.request)

    # --- what should be installed ---------------------------------------------------------------------------------

    async def bundles(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        return json_reply(bundle_list(self.studio, _is_true(call.request.query.get("archived"))))

    async def addons(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        details = _is_true(call.request.query.get("details"))
        names = sorted({name for name, _ in self.studio.addons})
        return json_reply({"addons": [self._addon(name, details) for name in names]})

    def _addon(self, name: str, details: bool) -> dict[str, Any]:
        versions = {v: addon for (n, v), addon in self.studio.addons.items() if n == name}
        active = {
            key: bundle.addons[name]
            for key, bundle in (
                ("productionVersion", self.studio.production()),
                ("stagingVersion", self.studio.staging()),
            )
            if bundle is not None and bundle.addons.get(name) is not None
        }
        return {
            "name": name,
            "title": self.studio.title(name),
            "versions": {version: addon.to_json(details) for version, addon in versions.items()},
            "description": "",
            **active,
            "addonType": "pipeline",
            "system": False,
            "projectCanOverrideAddonVersion": [*versions.values()][-1].project_can_override,
        }

    async def packages(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        return json_reply({"packages": [dict(package.info) for package in self.studio.packages]})

    async def installers(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        wanted = {key: value for key in ("version", "platform") if (value := call.request.query.get(key)) is not None}
        infos = [dict(installer.info) for installer in self.studio.installers]
        listed = [info for info in infos if all(info.get(key) == value for key, value in wanted.items())]
        return json_reply({"installers": listed})

    async def project(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        [name] = call.parts
        project = next((project for project in self.studio.projects if project.name == name), None)
        if project is None:
            return error_reply(404, f"Project '{name}' not found")
        return json_reply(project.to_json())

    async def settings(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        query = call.request.query
        project_bundle = query.get("project_bundle_name")
        variant = query.get("variant", "production")
        summary = settings_summary(self.studio, query.get("bundle_name"), project_bundle, variant)
        if summary is None:
            return error_reply(
                404, f"Project bundle {project_bundle} not found" if project_bundle else "Bundle not found"
            )
        return json_reply(summary)

    # --- changing bundles -----------------------------------------------------------------------------------------

    async def add_bundle(self, bundle: Bundle) -> None:
        """Create a bundle and tell the news."""
        self.studio = with_bundle(self.studio, bundle)
        flags = {"isProduction": bundle.is_production, "isStaging": bundle.is_staging, "isDev": bundle.is_dev}
        await self.news.tell("bundle.created", f"New bundle '{bundle.name}' created", {"name": bundle.name, **flags})

    async def change_bundle(self, name: str, patch: Mapping[str, Any]) -> None:
        """Change a bundle and tell the news.

        Raises:
            KeyError: There is no such bundle.
        """
        bundle = self.studio.bundle(name)
        if bundle is None:
            raise KeyError(name)
        bundle, description = patched(bundle, patch)
        self.studio = with_bundle(self.studio, bundle)
        await self.news.tell("bundle.updated", description, update_summary(bundle, patch))

    async def create_bundle(self, call: Call) -> Reply:
        self._admin(call, "Only admins can create bundles")
        await self.add_bundle(Bundle.from_json(json.loads(await call.request.read())))
        return Reply(201)

    async def patch_bundle(self, call: Call) -> Reply:
        self._admin(call, "Only admins can patch bundles")
        try:
            await self.change_bundle(call.parts[0], json.loads(await call.request.read()))
        except KeyError:
            return error_reply(404, "Bundle not found")
        return Reply(204)

    async def promote_bundle(self, call: Call) -> Reply:
        self._admin(call, "Only admins can promote bundles")
        bundle = self.studio.bundle(call.parts[0])
        if bundle is None:
            return error_reply(404, "Bundle not found")
        if not bundle.is_staging:
            return error_reply(400, "Only staging bundles can be promoted")
        self.studio = with_bundle(self.studio, patched(bundle, {"isProduction": True})[0])
        await self.news.tell(
            "bundle.status_changed",
            f"Bundle {bundle.name} promoted to production",
            {"name": bundle.name, "status": "production"},
        )
        return Reply(204)

    def _admin(self, call: Call, otherwise: str) -> None:
        if not self.accounts.user_of(self.studio, call.request).is_admin:
            raise Refused(403, otherwise)

    # --- where the bytes are --------------------------------------------------------------------------------------

    async def addon_file(self, call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        name, version, filename = call.parts
        addon = self.studio.addons.get((name, version))
        if not any(name == known for known, _ in self.studio.addons):
            return error_reply(404, f"Addon {name} does not exist")
        if addon is None or addon.is_broken:
            return error_reply(404, f"Addon {name} version {version} does not exist")
        if ".." in filename.split("/") or filename.startswith("/"):
            return error_reply(404, "Invalid file path")
        if filename not in addon.files:
            return error_reply(404, "File not found")
        return archive_reply(addon.files[filename], filename, call.ask)

    async def package_file(self, call: Call) -> Reply:
        return self._desktop_file(self.studio.packages, call)

    async def installer_file(self, call: Call) -> Reply:
        return self._desktop_file(self.studio.installers, call)

    def _desktop_file(self, packages: tuple[Package, ...], call: Call) -> Reply:
        self.accounts.user_of(self.studio, call.request)
        [filename] = call.parts
        package = next((package for package in packages if package.filename == filename), None)
        if package is None or package.content is None:
            return error_reply(404, "File not found")
        return archive_reply(package.content, filename, call.ask)


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in ("1", "true", "yes", "on")


def _invalid(call: Call, where: str, error: Mapping[str, Any]) -> Reply:
    request = call.request
    return error_reply(
        400,
        f"Request validation error in [{request.method}] {request.path}",
        path=request.path,
        traceback=f"{where}: {error['msg']}",
        errors=[error],
    )


_ROUTES: tuple[tuple[str, re.Pattern[str], Handler], ...] = tuple(
    (method, re.compile(pattern), handler)
    for method, pattern, handler in (
        ("GET", "/api/info", Api.info),
        ("POST", "/api/auth/login", Api.login),
        ("POST", "/api/auth/logout", Api.logout),
        ("GET", "/api/users/([^/]+)", Api.user),
        ("POST", "/", Api.sign_in),
        ("GET", "/api/bundles", Api.bundles),
        ("POST", "/api/bundles", Api.create_bundle),
        ("PATCH", "/api/bundles/([^/]+)", Api.patch_bundle),
        ("POST", "/api/bundles/([^/]+)", Api.promote_bundle),
        ("GET", "/api/addons", Api.addons),
        ("GET", "/api/desktop/dependencyPackages", Api.packages),
        ("GET", "/api/desktop/dependencyPackages/(.+)", Api.package_file),
        ("GET", "/api/desktop/installers", Api.installers),
        ("GET", "/api/desktop/installers/(.+)", Api.installer_file),
        ("GET", "/api/projects/([^/]+)", Api.project),
        ("GET", "/api/settings", Api.settings),
        ("GET", "/addons/([^/]+)/([^/]+)/private/(.+)", Api.addon_file),
    )
)
