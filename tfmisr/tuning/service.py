"""Many machines: Keras Tuner's chief, which serves the oracle, and the workers' end of the line.

The chief listens at `KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT`; a process whose `KERASTUNER_TUNER_ID` holds
"chief" is the chief. The messages are Keras Tuner's own. All machines share the sweep's folder: results and
checkpoints pass through it. Neither Keras Tuner nor this encrypts or asks for a password: for closed networks only.
"""

import os
import sys
import time
from concurrent import futures

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief
from keras_tuner.src.engine.trial import Trial

from tfmisr.edge.errors import InputError

_FIRST_CALL, _CALL = 5.0, 60.0  # seconds until a call is tried again
_SIGN_OF_LIFE = 5.0
_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
_WAITING = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


def address() -> str:
    """Returns where the chief listens.

    Raises:
        InputError: An environment variable is missing.
    """
    if missing := [name for name in _VARIABLES if not os.environ.get(name)]:
        listed = ", ".join(_VARIABLES)
        raise InputError(f"a sweep on many machines needs {listed} in the environment; set {missing[0]}")
    return f"{os.environ['KERASTUNER_ORACLE_IP']}:{os.environ['KERASTUNER_ORACLE_PORT']}"


def role() -> str:
    """Returns `single`, `chief` or `worker`, from the environment.

    Raises:
        InputError: Some of its variables are there and others are not: alone, it would be a sweep of its own.
    """
    if not any(os.environ.get(name) for name in _VARIABLES):
        return "single"
    address()
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def serve(oracle, patience: float, tick) -> None:
    """Serves an oracle until all trials have ended and every worker that is alive knows it.

    Args:
        oracle: `tfmisr.tuning.oracles.Dependable`.
        patience: Seconds of silence after which a worker is taken for lost.
        tick: Called every second.

    Raises:
        InputError: Nothing can listen there.
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
            for worker, trial_id in oracle.drop_lost(patience):
                print(
                    f"{worker} was silent for {patience:.0f} s: its trial {trial_id} goes to another", file=sys.stderr
                )
            tick()
    finally:
        server.stop(grace=2).wait()


class Client:
    """A worker's view of the chief's oracle.

    Args:
        finished: Tells whether the sweep has ended, for a worker that comes late.
        patience: Seconds to wait for a chief that is not there, or not there any more.
    """

    def __init__(self, finished, patience: float):
        self.finished, self.patience = finished, patience
        # By default it waits for up to two minutes before it looks for a chief that was away, and asks the proxy that
        # http_proxy names for it: clusters have one for the web, which knows nothing of their own network.
        options = [("grpc.max_reconnect_backoff_ms", 5000), ("grpc.enable_http_proxy", 0)]
        channel = grpc.insecure_channel(address(), options=options)
        self.stub = protos.get_service_grpc().OracleStub(channel)
        self.messages = protos.get_service()

    def wait(self) -> bool:
        """Waits until the chief serves, and tells whether there is still something to do."""
        return self._patiently(self.stub.GetSpace, self.messages.GetSpaceRequest()) is not None

    def create_trial(self, tuner_id: str) -> Trial:
        """Returns the next trial, or one that says that there is none, as `Oracle.create_trial`."""
        request = self.messages.CreateTrialRequest(tuner_id=tuner_id)
        answer = self._patiently(self.stub.CreateTrial, request)
        return Trial(None, status="STOPPED") if answer is None else Trial.from_proto(answer.trial)

    def end_trial(self, trial: Trial) -> None:
        """Reports that a trial has ended; what became of it stands in its folder."""
        self._patiently(self.stub.EndTrial, self.messages.EndTrialRequest(trial=trial.to_proto()))

    def get_trial(self, trial_id: str) -> None:
        """Gives a sign of life, which may be lost."""
        try:
            self.stub.GetTrial(self.messages.GetTrialRequest(trial_id=trial_id), timeout=_SIGN_OF_LIFE)
        except grpc.RpcError:
            return

    def _patiently(self, call, request):
        """Calls the chief until it answers: to be asked twice does it no harm."""
        started, told = time.monotonic(), False
        while True:
            left = self.patience - (time.monotonic() - started)
            try:
                return call(request, wait_for_ready=True, timeout=max(0.1, min(_CALL if told else _FIRST_CALL, left)))
            except grpc.RpcError as error:
                if error.code() not in _WAITING:
                    raise
            if self.finished():
                return None
            if left <= 0:
                raise InputError(f"no chief answered at {address()} for {self.patience / 60:g} minutes; start it again")
            if not told:
                print(f"waiting for the chief at {address()}", file=sys.stderr)
                told = True
