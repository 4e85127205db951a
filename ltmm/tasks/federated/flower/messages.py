"""Messages between a server of Flower and its clients."""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ltmm.tasks.federated.aggregate import State
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

if TYPE_CHECKING:
    from flwr.app import Message, RecordDict
    from flwr.serverapp import Grid

__all__ = ['RemoteClients', 'content_of', 'tensors_of']

POLL = 0.2  # seconds from one look for answers to the next
RETRY = 30.0  # seconds until a node whose query failed is asked again


def content_of(settings: Mapping[str, Any], **tensors: State) -> 'RecordDict':
    """Pack settings and tensors into the content of a message.

    Args:
        settings: Numbers, strings or lists of them, by name.
        **tensors: Tensors by name.
    """
    from flwr.app import ArrayRecord, ConfigRecord, RecordDict

    arrays = {name: ArrayRecord({n: v.cpu() for n, v in state.items()}) for name, state in tensors.items()}
    return RecordDict({'config': ConfigRecord(dict(settings)), **arrays})


def tensors_of(content: 'RecordDict', name: str, like: State | None = None) -> State:
    """Unpack tensors of :func:`content_of`; an empty dict if the content is not as expected.

    Args:
        content: Content of a message.
        name: Name of the tensors.
        like: Tensors on whose devices the new ones go.
    """
    try:
        state = dict(content[name].to_torch_state_dict())
    except (AttributeError, EOFError, KeyError, TypeError, ValueError):
        return {}
    return {n: v.to(like[n].device) if like and n in like else v for n, v in state.items()}


class RemoteClients:
    """The clients that Flower reaches, by their index; sends them requests and keeps track of missing answers.

    Args:
        grid: Flower's connection to the nodes.
        sizes: Images of each client, (K,); 0 if unknown; set in place when the client reports it.
        timeout: Seconds to wait for clients at the start, and for the answers of a round.
        log: Logger.
    """

    def __init__(self, grid: 'Grid', sizes: list[int], timeout: float, log: Any) -> None:
        check(timeout=(timeout, '> 0'))
        self.grid, self.sizes, self.timeout, self.log = grid, sizes, timeout, log
        self.nodes: dict[int, int] = {}  # node id of each connected client
        self._next_query: dict[int, float] = {}  # time from which a node may be asked for its client, by node id
        self._queries: dict[str, int] = {}  # node of each open query, by message id
        self._unanswered: dict[str, tuple[int, State]] = {}  # client and the weights that it got, by message id

    def wait(self) -> None:
        """Wait until all clients are connected, or for the timeout; then continue with those that are."""
        end = time.monotonic() + self.timeout
        while self.find() < len(self.sizes) and time.monotonic() < end:
            time.sleep(POLL)
        if not self.nodes:
            raise InputError(f'No client came within {self.timeout} s: start flower-supernode on its machine.')
        self.log.info(f'{len(self.nodes)} of {len(self.sizes)} clients are there.')

    def find(self) -> int:
        """Ask new nodes which client they are, forget those that are gone, and return how many are there."""
        present, now = set(self.grid.get_node_ids()), time.monotonic()
        self.nodes = {client: node for client, node in self.nodes.items() if node in present}
        self._queries = {message: node for message, node in self._queries.items() if node in present}
        self._next_query = {node: self._next_query.get(node, now) for node in present}
        new = sorted(node for node, start in self._next_query.items() if start <= now)
        for node, message in zip(new, self._push('query', new, content_of({}))):
            self._next_query[node] = math.inf
            if message is not None:
                self._queries[message] = node
        for message in self._pull(self._queries):
            node = self._queries.pop(message.metadata.reply_to_message_id)
            if message.has_error():
                self.log.warning(f'Node {node} does not say which client it is: {message.error.reason}')
                self._next_query[node] = now + RETRY
            else:
                self._add(node, message.content['config'])
        return len(self.nodes)

    def _add(self, node: int, answer: Mapping[str, Any]) -> None:
        client, size = int(answer['client']), int(answer['num-examples'])
        if not 0 <= client < len(self.sizes) or size < 1:
            self.log.warning(
                f'Node {node} is left out: expected client 0 to {len(self.sizes) - 1} with images, but it is client '
                f'{client} with {size}.'
            )
        elif self.sizes[client] not in (0, size):
            self.log.warning(
                f'Client {client} is left out: it has {size} images, and {self.sizes[client]} in the split of the '
                'server. Give all machines the same config and data, or set train_cfg.clients to their number.'
            )
        else:
            if client in self.nodes:
                self.log.warning(f'Two nodes are client {client}: the last one counts.')
            self.nodes[client], self.sizes[client] = node, size

    def ask(
        self, clients: Sequence[int], content: 'RecordDict', turn: str, sent: State | None = None
    ) -> list['RecordDict | None']:
        """Send a message to clients, and return the answers in their order; None where there is none in time.

        Args:
            clients: Indices of the clients.
            content: What they are sent.
            turn: Name of the round in the log; MMEngine's logger shows the same warning only once.
            sent: The weights in it; a later answer then is for :meth:`late`.
        """
        end = time.monotonic() + self.timeout
        self.find()
        while self._queries and {*clients} - self.nodes.keys() and time.monotonic() < end:
            time.sleep(POLL)
            self.find()
        for client in sorted({*clients} - self.nodes.keys()):
            self.log.warning(f'{turn}: client {client} is not there.')
        there = [i for i, client in enumerate(clients) if client in self.nodes]
        waiting = dict(zip(self._push('train', [self.nodes[clients[i]] for i in there], content), there))
        if None in waiting:
            self.log.warning(f'{turn}: Flower did not send the messages; the log above says why.')
            del waiting[None]
        answers: list[RecordDict | None] = [None] * len(clients)
        while waiting and time.monotonic() < end:
            for message in self._pull(waiting):
                i = waiting.pop(message.metadata.reply_to_message_id)
                if message.has_error():
                    self.log.warning(f'{turn}: client {clients[i]} is left out. {message.error.reason}')
                else:
                    answers[i] = message.content
            if waiting:
                time.sleep(POLL)
        for message_id, i in waiting.items():
            self.log.warning(f'{turn}: client {clients[i]} has not answered within {self.timeout} s.')
            if sent is not None:
                self._unanswered[message_id] = (clients[i], sent)
        for message_id in list(self._unanswered)[: -len(self.sizes)]:
            del self._unanswered[message_id]  # of a client that is unlikely to answer
        return answers

    def late(self) -> list[tuple[int, State, 'RecordDict']]:
        """Return the clients whose answers to former rounds are here, the weights that they got, and the answers."""
        found = [(*self._unanswered.pop(m.metadata.reply_to_message_id), m) for m in self._pull(self._unanswered)]
        return [(client, sent, message.content) for client, sent, message in found if message.has_content()]

    def _push(self, kind: str, nodes: Sequence[int], content: 'RecordDict') -> list[str | None]:
        """Send a message to nodes; return the id of each, None for one that Flower refuses."""
        from flwr.app import Message

        ids = list(self.grid.push_messages([Message(content, node, kind) for node in nodes])) if nodes else []
        if len(ids) != len(nodes):  # too large for Flower, which refuses all of them
            return [None] * len(nodes)
        return [message or None for message in ids]

    def _pull(self, message_ids: Iterable[str]) -> list['Message']:
        return list(self.grid.pull_messages(list(message_ids))) if message_ids else []
