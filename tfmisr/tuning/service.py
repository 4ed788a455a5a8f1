"""Distributed search: the chief, which serves the oracle with Keras Tuner's gRPC service, and its clients, the workers.

The chief listens at `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`; a process whose `KERASTUNER_TUNER_ID`
contains "chief" is the chief. All machines share the sweep's folder, with results and checkpoints. There is neither
encryption nor authentication: use it in closed networks only.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent import futures

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief
from keras_tuner.src.engine.trial import Trial

from tfmisr.edge.errors import InputError
from tfmisr.tuning.recoverable_oracle import RecoverableOracle

_FIRST_CALL, _CALL = 5.0, 60.0  # seconds until a call is repeated
_HEARTBEAT = 5.0  # seconds until a heartbeat is given up
_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
_WAITING = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


def address() -> str:
    """Returns the address of the chief, `host:port`.

    Raises:
        InputError: An environment variable is missing.
    """
    if missing := [name for name in _VARIABLES if not os.environ.get(name)]:
        listed = ", ".join(_VARIABLES)
        raise InputError(f"a sweep on many machines needs {listed} in the environment; set {missing[0]}")
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


def role() -> str:
    """Returns the role of this process from the environment: `single`, `chief` or `worker`.

    Raises:
        InputError: Only some of the variables are set.
    """
    if not any(os.environ.get(name) for name in _VARIABLES):
        return "single"
    address()
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def serve(oracle: RecoverableOracle, worker_timeout: float, tick: Callable[[], object]) -> None:
    """Serves an oracle until all trials have ended and all connected workers have been notified.

    Args:
        oracle: The oracle.
        worker_timeout: Seconds without a heartbeat after which a worker is considered lost.
        tick: Called every second.

    Raises:
        InputError: The address cannot be bound.
    """
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=1), options=[("grpc.so_reuseport", 0)])
    protos.get_service_grpc().add_OracleServicer_to_server(oracle_chief.OracleServicer(oracle), server)
    try:
        server.add_insecure_port(address())
    except RuntimeError as error:
        raise InputError(f"the chief cannot listen at {address()}: {error}; choose another port or address") from error
    server.start()
    try:
        while not ((oracle.stopped or oracle.exhausted) and oracle_chief.exit_chief(oracle)):
            time.sleep(1)
            if oracle.failure:
                raise oracle.failure
            for worker, trial_id in oracle.drop_lost(worker_timeout):
                print(
                    f"{worker} was silent for {worker_timeout:.0f} s: its trial {trial_id} is given to another worker",
                    file=sys.stderr,
                )
            tick()
    finally:
        server.stop(grace=2).wait()


class Client:
    """A worker's interface to the chief's oracle.

    Args:
        finished: Returns whether the sweep has ended, for a worker that starts late.
        timeout: Seconds to wait for a chief that does not answer.
    """

    def __init__(self, finished: Callable[[], bool], timeout: float):
        self.finished, self.timeout = finished, timeout
        # By default gRPC waits up to two minutes before it reconnects, and connects through http_proxy, which in a
        # cluster is usually a web proxy that cannot reach the internal network.
        options = [("grpc.max_reconnect_backoff_ms", 5000), ("grpc.enable_http_proxy", 0)]
        channel = grpc.insecure_channel(address(), options=options)
        self.stub = protos.get_service_grpc().OracleStub(channel)
        self.messages = protos.get_service()

    def wait(self) -> bool:
        """Waits until the chief serves; returns whether there is still something to do.

        Raises:
            InputError: No chief answered in time.
        """
        return self._call(self.stub.GetSpace, self.messages.GetSpaceRequest()) is not None

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the next trial, or one with the status `STOPPED`; see `keras_tuner.Oracle.create_trial`."""
        request = self.messages.CreateTrialRequest(tuner_id=tuner_id)
        answer = self._call(self.stub.CreateTrial, request)
        return Trial(None, status="STOPPED") if answer is None else Trial.from_proto(answer.trial)

    def end_trial(self, trial: Trial) -> None:
        """Reports that a trial has ended; its result is in its folder."""
        self._call(self.stub.EndTrial, self.messages.EndTrialRequest(trial=trial.to_proto()))

    def get_trial(self, trial_id: str) -> None:
        """Sends a heartbeat; a lost one is ignored."""
        try:
            self.stub.GetTrial(self.messages.GetTrialRequest(trial_id=trial_id), timeout=_HEARTBEAT)
        except grpc.RpcError:
            return

    def _call(self, method, request):
        """Calls the chief until it answers; all requests are idempotent."""
        started, reported = time.monotonic(), False
        while True:
            left = self.timeout - (time.monotonic() - started)
            limit = max(0.1, min(_CALL if reported else _FIRST_CALL, left))
            try:
                return method(request, wait_for_ready=True, timeout=limit)
            except grpc.RpcError as error:
                if error.code() not in _WAITING:
                    raise
            if self.finished():
                return None
            if left <= 0:
                raise InputError(f"no chief answered at {address()} for {self.timeout / 60:g} minutes; start it again")
            if not reported:
                print(f"waiting for the chief at {address()}", file=sys.stderr)
                reported = True
