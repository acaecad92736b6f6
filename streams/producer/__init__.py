"""The way in for producers: typed drafts go in, their positions in the log come out.

    with SyncProducer(ProducerSettings("127.0.0.1:9092")) as producer:
        position = producer.send(draft)

`Producer` is the same for asyncio.
"""

from streams.producer.client import Producer as Producer
from streams.producer.errors import BrokerAway as BrokerAway
from streams.producer.errors import DeliveryUnknown as DeliveryUnknown
from streams.producer.errors import EventTooLarge as EventTooLarge
from streams.producer.errors import InvalidDraft as InvalidDraft
from streams.producer.errors import NotAccepted as NotAccepted
from streams.producer.errors import ProducerError as ProducerError
from streams.producer.errors import TopicMissing as TopicMissing
from streams.producer.settings import ProducerSettings as ProducerSettings
from streams.producer.sync_client import SyncProducer as SyncProducer
