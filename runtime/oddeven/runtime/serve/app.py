"""The endpoints: the page, `POST /predict`, the Open Inference Protocol and metrics."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from time import perf_counter

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oddeven.runtime.errors import DataError, MissingPackageError, OddEvenError, OutputError, UsageError
from oddeven.runtime.serve import protocol
from oddeven.runtime.serve.camera import SharedCamera
from oddeven.runtime.serve.collection import Collection
from oddeven.runtime.serve.guard import HEADERS, Guard
from oddeven.runtime.serve.limits import read_body
from oddeven.runtime.serve.page import BACKEND, PAGE, POLICY
from oddeven.runtime.serve.served_model import ServedModel
from oddeven.runtime.serve.service import Service

HEADER_LENGTH = protocol.HEADER_LENGTH.encode()

# Of errors; others: 500. A client that left hears nothing, but is counted.
EXPECTED = (OddEvenError, HTTPException, ClientDisconnect)
STATUS = {UsageError: 404, DataError: 400, MissingPackageError: 503, OutputError: 507, ClientDisconnect: 499}

# The models are open before the server listens, so it is ready as soon as it is alive.
HEALTHY = JSONResponse({"live": True, "ready": True})
# What is always the same: the page, its way to this server, and of the Open Inference Protocol what does not ask for a
# model.
FIXED: Mapping[str, Response] = {
    "/": Response(PAGE, media_type="text/html", headers={"content-security-policy": POLICY}),
    "/backend.js": Response(BACKEND, media_type="text/javascript"),
    "/v2": JSONResponse({"name": "oddeven", "version": version("oddeven"), "extensions": ["binary_tensor_data"]}),
    "/v2/health/live": HEALTHY,
    "/v2/health/ready": HEALTHY,
}


class Api:
    """The endpoints over one `Service`."""

    def __init__(self, service: Service, collection: Collection | None, camera: SharedCamera | None) -> None:
        self._service, self._collection, self._camera = service, collection, camera

    def routes(self) -> list[Route]:
        """Every path that the server knows; Starlette tries them in turn, so those that must be quick come first."""
        routes = []
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                Route(f"{model}/infer", self.infer, methods=["POST"]),
                Route(f"{model}/ready", self.model_ready),
                Route(model, self.model_metadata),
            ]
        return [
            Route("/predict", self.predict, methods=["POST"]),
            *routes,
            Route("/about", self.about),
            Route("/camera", self.camera),
            Route("/keep/{label}", self.keep, methods=["POST"]),
            Route("/metrics", self.metrics),
            *(Route(path, response, methods=["GET"]) for path, response in FIXED.items()),
        ]

    async def about(self, request: Request) -> Response:
        """What the page needs to know."""
        models = [
            {
                "name": model.name,
                "labels": model.classifier.spec.labels,
                "drawable": model.classifier.spec.input.channels == 1,
                "precision": model.facts["precision"],
                "engine": model.facts["engine"],
            }
            for model in self._service.models.values()
        ]
        kept = await self._service.in_thread(self._collection.counts) if self._collection else None
        return JSONResponse({"models": models, "camera": self._camera is not None, "kept": kept})

    async def predict(self, request: Request) -> Response:
        """The prediction for the image file that is the body."""
        model, show = self._model(request.query_params.get("model")), "input" in request.query_params
        with self._service.budget.reserve(request.scope):
            body = await self._image(request)
            return JSONResponse(await self._service.predict(model, body, "upload", show))

    async def camera(self, request: Request) -> Response:
        """The camera's next frame as a JPEG file, and the predictions for it in a header."""
        if self._camera is None:
            raise HTTPException(404, "This server has no camera; start it with --camera.")
        start = perf_counter()
        shot = await self._camera.shot()
        capture_ms = round(1e3 * (perf_counter() - start), 3)
        predictions = [
            {**await self._service.predict(model, shot.image(model.classifier.spec.input.channels), "camera", True),
             "capture_ms": capture_ms}
            for model in self._service.models.values()
        ]  # fmt: skip
        return Response(shot.jpeg, media_type="image/jpeg", headers={"predictions": json.dumps(predictions)})

    async def keep(self, request: Request) -> Response:
        """Keep the image file that is the body."""
        if self._collection is None:
            raise HTTPException(404, "This server keeps no images; start it with --keep FOLDER.")
        with self._service.budget.reserve(request.scope):
            body = await self._image(request)
            name = await self._service.in_thread(self._collection.keep, request.path_params["label"], body)
        return JSONResponse({"file": name, "kept": await self._service.in_thread(self._collection.counts)}, 201)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus."""
        return Response(generate_latest(self._service.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def model_ready(self, request: Request) -> Response:
        """Of the Open Inference Protocol."""
        return JSONResponse({"name": self._asked(request).name, "ready": True})

    async def model_metadata(self, request: Request) -> Response:
        """Of the Open Inference Protocol."""
        model = self._asked(request)
        return JSONResponse(protocol.model_metadata(model.name, model.classifier.spec))

    async def infer(self, request: Request) -> Response:
        """Of the Open Inference Protocol."""
        return await self.infer_with(self._asked(request), request.scope, request.receive)

    async def infer_with(self, model: ServedModel, scope: Scope, receive: Receive) -> Response:
        """What `model` says to the request."""
        spec, headers = model.classifier.spec, dict(scope["headers"])
        if b"content-encoding" in headers:
            raise HTTPException(415, "The body is compressed; send it as it is.")
        with self._service.budget.reserve(scope):
            body = await self._read(receive)
            length = headers.get(HEADER_LENGTH)
            asked, images = protocol.parse(body, None if length is None else length.decode("latin-1"), spec)
            predictions = await self._service.infer(model, images)
        content, described = protocol.response(model.name, asked, predictions, spec)
        return Response(content, headers=described)

    def _model(self, name: str | None) -> ServedModel:
        """The model `name`, or the first one."""
        models = self._service.models
        if name is None:
            return next(iter(models.values()))
        if name not in models:
            raise HTTPException(404, f"There is no model {name[:100]!r}; there are {', '.join(models)}.")
        return models[name]

    def _asked(self, request: Request) -> ServedModel:
        if request.path_params.get("version", "1") != "1":
            raise HTTPException(404, "Each model has one version, 1.")
        return self._model(request.path_params["model"])

    async def _image(self, request: Request) -> bytes:
        """The body, where it is not a form that has the image file somewhere in it."""
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise HTTPException(415, "The body is a form; send the image file itself: curl --data-binary @photo.jpg")
        return await self._read(request.receive)

    async def _read(self, receive: Receive) -> bytes:
        """A request's body, the memory for which is reserved."""
        start = perf_counter()
        body = await read_body(receive)
        self._service.metrics.observe("read", perf_counter() - start)
        return body


def create_app(
    service: Service,
    names: frozenset[str],
    token: str = "",
    collection: Collection | None = None,
    camera: SharedCamera | None = None,
) -> ASGIApp:
    """The server as an ASGI application.

    Args:
        names, token: as `Guard` has them.
        collection: where images are kept; None for nowhere.
        camera: None for none.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        if camera:
            camera.close()
        service.close()

    async def on_error(_: Request | None, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            kind, status, message, headers = str(error.status_code), error.status_code, error.detail, error.headers
        else:
            status = next((code for ours, code in STATUS.items() if isinstance(error, ours)), 500)
            kind, message, headers = type(error).__name__, str(error), None
        service.metrics.error(kind)
        return JSONResponse({"error": message}, status, headers)

    api = Api(service, collection, camera)
    app = Starlette(routes=api.routes(), lifespan=lifespan, exception_handlers=dict.fromkeys(EXPECTED, on_error))
    inference = {f"/v2/models/{name}/infer": model for name, model in service.models.items()}

    guard = Guard(names, token)

    async def answer(scope: Scope, receive: Receive) -> ASGIApp:
        """A refusal, or `app`, but for inference, which costs less without Starlette's routing and wrapping."""
        model = inference.get(scope["path"]) if scope["method"] == "POST" else None
        refusal = guard.refusal(scope)
        if refusal or model is None:
            return refusal or app
        try:
            return await api.infer_with(model, scope, receive)
        except EXPECTED as error:
            return await on_error(None, error)

    async def server(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        start, status = perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status, message["headers"] = message["status"], [*HEADERS, *message["headers"]]
            await send(message)

        response = await answer(scope, receive)
        await response(scope, receive, send_with_headers)
        if status:
            service.metrics.answered(status, perf_counter() - start)

    return server
