-- What people did, for journeys and funnels.
--
-- A funnel asks for a few actions and some days, so rows lie by action and time. Domain events
-- that are the same thing as an action (projections/funnels/actions.py) have a row here, too.

create table if not exists @table(journey_steps) (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    time DateTime64(3, 'UTC') comment 'When it happened',
    name LowCardinality(String) comment 'Type of the event without version: journey.step.recorded, or the domain event that equals the action',
    user_id String comment 'Person, empty if the session was not named yet',
    session String comment 'Session, empty for domain events',
    action LowCardinality(String) comment 'What was done',
    page String comment 'Page, empty if not said',
    platform LowCardinality(String) comment 'web, ios, android, bfc, vyomo or globfam; empty for domain events',
    feature LowCardinality(String) comment 'Feature used, empty if not said',
    experiment LowCardinality(String) comment 'Experiment, empty if none',
    variant LowCardinality(String) comment 'Variant of the experiment, empty if none',
    properties String comment 'Further properties as a JSON object' codec(ZSTD(1)),
    index by_offset offset type minmax granularity 1,
    index by_user user_id type bloom_filter(0.01) granularity 4,
    index by_session session type bloom_filter(0.01) granularity 4
) engine = @engine(MergeTree)
partition by toYYYYMM(time)
order by (action, time, user_id, topic, partition, offset)
settings @window
comment 'Steps of journeys and the domain events that equal one, each fact once; what funnels are answered from';
@distributed(journey_steps, cityHash64(user_id));

create view if not exists journeys @on_cluster (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    time DateTime64(3, 'UTC') comment 'When it happened',
    user_id String comment 'Person, empty if the session was not named yet (see sessions)',
    session String comment 'Session',
    action LowCardinality(String) comment 'What was done',
    page String comment 'Page, empty if not said',
    platform LowCardinality(String) comment 'web, ios, android, bfc, vyomo or globfam',
    feature LowCardinality(String) comment 'Feature used, empty if not said',
    experiment LowCardinality(String) comment 'Experiment, empty if none',
    variant LowCardinality(String) comment 'Variant of the experiment, empty if none',
    properties String comment 'Further properties as a JSON object'
) as select topic, partition, offset, time, user_id, session, action, page, platform, feature,
    experiment, variant, properties
from journey_steps where name = 'journey.step.recorded'
comment 'Steps of journeys (journey.step.recorded), each fact once';

-- The least entry of a session wins whatever is merged when, so sending it again is harmless.
create table if not exists @table(sessions) (
    session String comment 'Session',
    first_named SimpleAggregateFunction(min, Tuple(
        time DateTime64(3, 'UTC'), topic String, partition UInt16, offset UInt64, user_id String
    )) comment 'First step that named a person; read it as min(first_named).user_id, grouped by session'
) engine = @engine(AggregatingMergeTree)
order by session
settings @window
comment 'Whose a session is: the person of its first named step';
@distributed(sessions, cityHash64(session));
