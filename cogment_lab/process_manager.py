"""``Cogment``: environments and actors as services of their own, and trials between them."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime
import inspect
import logging
import secrets
import weakref
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cogment_lab.actors.runner import serve_actor
from cogment_lab.core import BaseActor, BaseEnv
from cogment_lab.envs.runner import role_specs, serve_env
from cogment_lab.errors import ConfigurationError, ServiceError, ServiceTimeoutError, TrialFailedError
from cogment_lab.specs import AgentSpecs, set_reset_options, set_seed
from cogment_lab.specs.generated import data_pb2 as pb
from cogment_lab.store import TrialData
from cogment_lab.utils.base_services import BaseServices
from cogment_lab.utils.runners import ServiceProcess
from cogment_lab.utils.serving import free_port, serve
from cogment_lab.wire.context import Context
from cogment_lab.wire.datastore import DatastoreTrialInfo
from cogment_lab.wire.endpoint import Endpoint
from cogment_lab.wire.generated.common_pb2 import TrialParams
from cogment_lab.wire.parameters import TrialParameters
from cogment_lab.wire.settings import LAB_SETTINGS
from cogment_lab.wire.trial_data import load_trial

__all__ = ["Cogment"]

_LOG = logging.getLogger(__name__)
_READY_SECONDS = 120.0
_TRIAL_SECONDS = 3600.0
_CHECK_SECONDS = 0.5
_FAILURE = "cogment_lab.failure"


class Cogment:
    """Runs environments, actors and human interfaces as processes, and trials between them.

    It uses the orchestrator and datastore that listen on the given ports, and starts what is missing (in one
    process that ends with this one). Use it inside a running event loop, best as ``async with
    Cogment() as cog``; :meth:`sync` is the same for code without ``await``.

    Args:
        user_id: Whose trials these are.
        torch_mode: Start processes by torch's multiprocessing, which shares tensors.
        log_dir: Folder of the services' ``log_file``.
        mp_method: How processes are started; anything but ``"spawn"`` is at your own risk.
        orchestrator_port: Where an orchestrator may listen; 0 or ``None`` starts one in any case.
        datastore_port: Where a datastore may listen; 0 likewise.
        store: File in which the datastore that is started keeps the trials, a ``TrialStore`` afterwards; in
            memory by default.

    Attributes:
        processes: Service processes, by name.
        tasks: Local services, by name.
        envs: Environments, by name.
        actors: Actors, by name.
        env_ports: Ports of environments.
        actor_ports: Ports of actors.
        controller: Client of the orchestrator.
        datastore: Client of the datastore.
        context: What both belong to.
        trial_envs: Environment of each trial.
        web_ui_url: Link to the page of :meth:`run_web_ui`, ``None`` without one.
    """

    def __init__(
        self,
        user_id: str = "cogment_lab",
        torch_mode: bool = False,
        log_dir: str | None = None,
        mp_method: str = "spawn",
        orchestrator_port: int | None = 9000,
        datastore_port: int | None = 9003,
        store: str | None = None,
    ) -> None:
        self.processes: dict[str, ServiceProcess] = {}
        self.tasks: dict[str, asyncio.Task[Any]] = {}
        self.envs: dict[str, BaseEnv] = {}
        self.actors: dict[str, Any] = {}
        self.env_ports: dict[str, int] = {}
        self.actor_ports: dict[str, int] = {}
        self.trial_envs: dict[str, str] = {}
        self.web_ui_url: str | None = None
        self.torch_mode = torch_mode
        self.log_dir = log_dir
        self._mp_context = _multiprocessing(torch_mode, mp_method)
        self._starting: dict[str, Awaitable[int]] = {}
        self._services = BaseServices.find_or_start(orchestrator_port or 0, datastore_port or 0, store)
        self._finalizer = weakref.finalize(self, self._services.stop)
        self.orchestrator_endpoint = f"grpc://localhost:{self._services.orchestrator_port}"
        self.datastore_endpoint = f"grpc://localhost:{self._services.datastore_port}"
        self.context = Context(user_id=user_id, cog_settings=LAB_SETTINGS)
        self.controller = self.context.get_controller(Endpoint(self.orchestrator_endpoint))
        self.datastore = self.context.get_datastore(Endpoint(self.datastore_endpoint))
        atexit.register(_stop_processes, weakref.ref(self))

    @staticmethod
    def sync(**arguments: Any) -> Any:
        """Return the same for code without ``await``: every method is an ordinary one.

        Example:
            >>> import cogment_lab
            >>> with cogment_lab.Cogment.sync() as cog:  # doctest: +SKIP
            ...     cog.run_env(GymEnvironment("CartPole-v1"), "cartpole")
        """
        from cogment_lab.utils.sync import SyncCogment

        return SyncCogment(**arguments)

    async def __aenter__(self) -> Cogment:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.cleanup()

    # --- services ---

    def run_env(
        self, env: BaseEnv, env_name: str, port: int | None = 9001, log_file: str | None = None
    ) -> Awaitable[bool]:
        """Serve an environment in a process of its own.

        Args:
            env: It is made again there, from its arguments.
            env_name: Its name in :meth:`start_trial`.
            port: Where to serve it; a free port when that is taken, or ``None`` or 0.
            log_file: Where the process writes.

        Returns:
            Await it for the environment to be ready; ``start_trial`` does so too.
        """
        _check_name(env_name)
        arguments = (type(env), env.args, env.kwargs, env_name, port or 0, self._services.directory)
        ready = self._start_process(env_name, serve_env, arguments, log_file, self.env_ports)
        self.envs[env_name] = env
        return ready

    def run_actor(
        self, actor: BaseActor, actor_name: str, port: int | None = 9002, log_file: str | None = None
    ) -> Awaitable[bool]:
        """Serve an actor in a process of its own; the arguments are those of :meth:`run_env`."""
        _check_name(actor_name)
        arguments = (type(actor), actor.args, actor.kwargs, actor_name, port or 0)
        ready = self._start_process(actor_name, serve_actor, arguments, log_file, self.actor_ports)
        self.actors[actor_name] = actor
        return ready

    def run_local_actor(
        self, actor: BaseActor, actor_name: str, port: int | None = 9002, log_file: str | None = None
    ) -> asyncio.Task[Any]:
        """Serve an actor in this process, on the running event loop; return the task that does."""
        _check_name(actor_name)
        self._check_free(actor_name)
        context = Context(user_id="cogment_lab", cog_settings=LAB_SETTINGS)
        context.register_actor(impl=actor.impl, impl_name=actor_name, actor_classes=["player"])
        announced: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(
            serve(context, announced.set_result, port or 0), name=f"actor {actor_name}"
        )
        self.tasks[actor_name] = task
        self.actors[actor_name] = actor

        async def ready() -> int:
            await asyncio.wait((task, announced), timeout=_READY_SECONDS, return_when="FIRST_COMPLETED")
            if task.done():
                await task
            self.actor_ports[actor_name] = announced.result()
            return announced.result()

        self._starting[actor_name] = ready()
        return task

    def run_web_ui(
        self,
        app_port: int = 8000,
        cogment_port: int = 8999,
        actions: Sequence[str] | Mapping[str, Any] = (),
        log_file: str | None = None,
        fps: float = 30,
        html_override: str | None = None,
        file_override: str | None = None,
        jinja_parameters: Mapping[str, Any] | None = None,
    ) -> Awaitable[bool]:
        """Serve a person at a web page as the actor ``"web_ui"``, in a process of its own.

        The page's link, which holds a token, is printed and kept as :attr:`web_ui_url`.

        Args:
            app_port: Port of the page; 0 takes any free one.
            cogment_port: Port of the actor.
            actions: Names of keys, in the order of the actions they stand for, or from key to action;
                ``"no-op"``, or else the first, is what happens without one. None: the environment's own keys.
            log_file: Where the process writes.
            fps: Ticks per second; 0 waits for a key.
            html_override: A page (a Jinja template) to serve instead of ours; it speaks 0.1.5's socket.
            file_override: File of such a page.
            jinja_parameters: What stands in the template.
        """
        from cogment_lab.humans.own_page import own_page
        from cogment_lab.humans.runner import serve_web_ui

        page = own_page(html_override, file_override, jinja_parameters)
        token = secrets.token_urlsafe(18)
        app_port = app_port or free_port()
        arguments = (app_port, cogment_port, _key_actions(actions), fps, page, token)
        url = f"http://127.0.0.1:{app_port}/?token={token}"
        note = f"play at {url}"
        started = self._start_process("web_ui", serve_web_ui, arguments, log_file, self.actor_ports, note)
        self.web_ui_url = url  # not where one is served already
        return started

    def run_gradio_ui(
        self, gradio_app_fn: Callable[..., None], cogment_port: int = 8998, log_file: str | None = None
    ) -> Awaitable[bool]:
        """Serve a person at a Gradio app as the actor ``"gradio"``.

        Args:
            gradio_app_fn: Importable function of two queues and ``log_file`` that runs the app: it puts
                actions into the first and gets ``(observation, frame)`` from the second. When it ends, so
                does the actor, with the app's error.
            cogment_port: Port of the actor.
            log_file: Where the processes write.
        """
        from cogment_lab.humans.gradio_actor import serve_gradio_ui

        arguments = (gradio_app_fn, cogment_port, log_file)
        return self._start_process("gradio", serve_gradio_ui, arguments, log_file, self.actor_ports)

    def _start_process(
        self,
        name: str,
        target: Callable[..., Any],
        arguments: tuple[Any, ...],
        log_file: str | None,
        ports: dict[str, int],
        note: str = "",
    ) -> Awaitable[bool]:
        """Start it; ``note`` is printed when it serves."""
        self._check_free(name)
        path = str(Path(self.log_dir, log_file)) if self.log_dir is not None and log_file else log_file
        process = ServiceProcess(name, target, arguments, log_file=path, context=self._mp_context)
        self.processes[name] = process

        async def ready() -> int:
            try:
                port = await process.ready(_READY_SECONDS)
            except ServiceError:
                self.processes.pop(name, None)
                process.stop(0.0)
                raise
            ports[name] = port
            _LOG.info("%s is served on port %d", name, port)
            if note:
                print(note, flush=True)
            return port

        self._starting[name] = asyncio.ensure_future(ready()) if _has_loop() else ready()
        return self._is_ready(name)

    async def _is_ready(self, name: str) -> bool:
        starting = self._starting.pop(name, None)
        if starting is not None:
            await starting
        return True

    def _check_free(self, name: str) -> None:
        if name in self.processes or name in self.tasks:
            raise ConfigurationError(f"there is a service {name!r} already; stop it first, or choose a name")

    def stop_service(self, name: str, timeout: float = 1.0) -> None:
        """Stop a process or a local service.

        Args:
            name: Its name.
            timeout: Seconds it has to end by itself.

        Raises:
            ConfigurationError: there is none of that name.
        """
        if name in self.processes:
            self.processes.pop(name).stop(timeout)
        elif name in self.tasks:
            self.tasks.pop(name).cancel()
        else:
            raise ConfigurationError(f"there is no service {name!r}; there are {self._names()}")
        starting = self._starting.pop(name, None)
        if inspect.iscoroutine(starting):  # nobody has waited for it
            starting.close()
        for known in (self.envs, self.actors, self.env_ports, self.actor_ports):
            known.pop(name, None)

    def stop_all_services(self, timeout: float = 1.0) -> None:
        """Stop everything that was started by this object, but the orchestrator and datastore."""
        for name in self._names():
            self.stop_service(name, timeout)

    async def cleanup(self, timeout: float = 1.0) -> None:
        """Stop everything, the orchestrator and datastore that were started too; idempotent."""
        tasks = list(self.tasks.values())
        self.stop_all_services(timeout)
        if tasks:
            await asyncio.wait(tasks, timeout=5.0)
        await self.context.close()
        self._finalizer()

    def _names(self) -> list[str]:
        return [*self.processes, *self.tasks]

    def _check_services(self) -> None:
        """Raise ServiceCrashedError when a process died."""
        self._services.check()
        for process in self.processes.values():
            process.check()

    # --- trials ---

    async def start_trial(
        self,
        env_name: str,
        actor_impls: Mapping[str, str] | str,
        session_config: Mapping[str, Any] | None = None,
        trial_name: str | None = None,
        *,
        max_steps: int = 0,
        properties: Mapping[str, str] | None = None,
    ) -> str:
        """Start a trial and return its id.

        Args:
            env_name: The environment.
            actor_impls: From agent (or ``"teacher"``, ``"evaluator"``, ``"observer"``) to actor; a name
                alone plays ``"gym"``.
            session_config: ``render``, ``render_width``, ``seed`` (a fresh one is drawn and recorded without
                it), ``reset_options`` and the other fields of ``EnvironmentConfig``.
            trial_name: Its id; made from the environment's name and the time without it.
            max_steps: End softly after the actions of this tick, 0 for no limit.
            properties: Stored with the trial.

        Raises:
            ConfigurationError: unknown environment, actor, agent or setting.
            ServiceCrashedError: a service died.
            ServiceError: the orchestrator refuses.
        """
        if isinstance(actor_impls, str):
            actor_impls = {"gym": actor_impls}
        if env_name not in self.envs:
            raise ConfigurationError(f"there is no environment {env_name!r}; there are {sorted(self.envs)}")
        for name in (env_name, *actor_impls.values()):
            await self._is_ready(name)
        self._check_services()
        params = TrialParams(max_steps=max_steps, properties=dict(properties or {}))
        params.environment.name = env_name
        params.environment.implementation = env_name
        params.environment.endpoint = f"grpc://localhost:{self.env_ports[env_name]}"
        params.environment.config.content = _env_config(session_config or {}).SerializeToString()
        params.datalog.endpoint = self.datastore_endpoint
        self._cast(params, self.envs[env_name], actor_impls)
        wanted = trial_name or f"{env_name}-{datetime.datetime.now().isoformat()}"
        trial_id: str = await self.controller.start_trial(
            trial_id_requested=wanted, trial_params=TrialParameters(LAB_SETTINGS, raw_params=params)
        )
        if not trial_id:
            raise ServiceError(f"a trial {wanted!r} exists already: choose another trial_name")
        self.trial_envs[trial_id] = env_name
        return trial_id

    def _cast(self, params: TrialParams, env: BaseEnv, actor_impls: Mapping[str, str]) -> None:
        known = {**env.agent_specs, **role_specs(env)}
        missing = [agent for agent in env.agent_specs if agent not in actor_impls]
        if missing and len(env.agent_specs) > 1:
            raise ConfigurationError(f"nobody plays {missing}: name an actor for each agent")
        for agent, implementation in actor_impls.items():
            if agent not in known:
                raise ConfigurationError(f"the environment has no agent {agent!r}; it has {sorted(known)}")
            if implementation not in self.actor_ports:
                raise ConfigurationError(
                    f"there is no actor {implementation!r}; there are {sorted(self.actor_ports)}"
                )
            actor = params.actors.add(name=agent, actor_class="player", implementation=implementation)
            actor.endpoint = f"grpc://localhost:{self.actor_ports[implementation]}"
            actor.optional = agent not in env.agent_specs
            config = pb.AgentConfig(run_id="run_id")
            config.agent_specs.CopyFrom(known[agent].serialize())
            actor.config.content = config.SerializeToString()

    async def get_trial_data(
        self,
        trial_id: str,
        env_name: str | None = None,
        fields: Sequence[str] = (),
        use_tqdm: bool = False,
        tqdm_kwargs: Mapping[str, Any] | None = None,
        *,
        timeout: float = _TRIAL_SECONDS,
    ) -> dict[str, TrialData]:
        """Wait for a trial to end, and return its data by agent.

        Args:
            trial_id: The trial.
            env_name: Its environment, for a trial that was not started here.
            fields: Has no effect any more: everything is there.
            use_tqdm: Likewise; a trial is read in milliseconds.
            tqdm_kwargs: Likewise.
            timeout: Seconds to wait for its end.

        Raises:
            TrialFailedError: a component failed; says which, and why.
            ServiceCrashedError: a service died.
            ServiceTimeoutError: the trial did not end in time.
        """
        env = self.envs.get(env_name or self.trial_envs.get(trial_id, ""))
        specs: dict[str, AgentSpecs] = {**env.agent_specs, **role_specs(env)} if env is not None else {}
        messages = {name: each.serialize() for name, each in specs.items()} or None
        loading = asyncio.create_task(load_trial(self.datastore.stub, trial_id, messages, timeout=timeout))
        try:
            while not loading.done():
                await asyncio.wait((loading,), timeout=_CHECK_SECONDS)
                if not loading.done():
                    self._check_services()
            data = loading.result()
        finally:
            loading.cancel()
        await self._check_trial(trial_id)
        return data

    get_episode_data = get_trial_data

    async def _check_trial(self, trial_id: str) -> None:
        """Raise TrialFailedError when the orchestrator says that the trial failed."""
        with contextlib.suppress(ServiceTimeoutError):
            for info in await self.controller.get_trial_info([trial_id]):
                failure = info.properties.get(_FAILURE, "")
                if failure:
                    raise TrialFailedError(f"trial {trial_id!r} failed: {failure}")

    async def get_trial(self, trial_id: str) -> DatastoreTrialInfo:
        """Return what the datastore knows of a trial.

        Raises:
            ServiceError: nothing.
        """
        found: list[DatastoreTrialInfo] = await self.datastore.get_trials(ids=[trial_id])
        if not found:
            raise ServiceError(f"the datastore has no trial {trial_id!r}")
        return found[0]


def _env_config(session_config: Mapping[str, Any]) -> pb.EnvironmentConfig:
    """Return the configuration of an environment, with a seed in any case."""
    settings = dict(session_config)
    seed = settings.pop("seed", None)
    options = settings.pop("reset_options", None)
    try:
        config = pb.EnvironmentConfig(**settings)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"session_config is wrong: {error}") from error
    set_seed(config, secrets.randbits(32) if seed is None else int(seed))
    if options is not None:
        set_reset_options(config, dict(options))
    return config


def _key_actions(actions: Sequence[str] | Mapping[str, Any]) -> dict[str, Any]:
    return dict(actions) if isinstance(actions, Mapping) else {key: n for n, key in enumerate(actions)}


def _check_name(name: str) -> None:
    if not name or any(mark in name for mark in "%?&=;:/+,#@[]*."):
        raise ConfigurationError(
            f"{name!r} cannot name a service: it is empty or holds one of %?&=;:/+,#@[]*."
        )


def _multiprocessing(torch_mode: bool, method: str) -> Any:
    if torch_mode:
        import torch.multiprocessing as multiprocessing
    else:
        import multiprocessing  # type: ignore[no-redef]
    return multiprocessing.get_context(method)


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _stop_processes(reference: weakref.ref[Cogment]) -> None:
    """Stop what is left when the interpreter ends."""
    cogment = reference()
    if cogment is not None:
        for process in cogment.processes.values():
            process.stop(0.5)
