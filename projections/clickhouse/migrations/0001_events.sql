-- Every event at its own position, and typed rows of those that analysts ask for most.
--
-- Partitions are months of event time, so that a question about a quarter reads three of them.
-- The window of remembered inserts is what makes sending a flush again harmless.

create table if not exists @table(events) (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    id String comment 'Id that the producer gave the event',
    source LowCardinality(String) comment 'Producer of the event; (source, id) names one fact',
    type LowCardinality(String) comment 'Type as it stands in the log, with its version: bfc.transaction.posted.v1',
    name LowCardinality(String) comment 'Type without its version: bfc.transaction.posted',
    is_first Bool comment 'False if the same (source, id) stands at an earlier position: such a repetition takes effect nowhere. Count facts with: where is_first',
    subject String comment 'Aggregate the event is about (account, order, session ...); empty if none',
    user_id String comment 'Person whose views the event changes; empty on market data and unnamed sessions',
    tenant_id LowCardinality(String) comment 'Tenant of the installation',
    time DateTime64(3, 'UTC') comment 'When it happened',
    ingested_at DateTime64(3, 'UTC') comment 'When the log took it',
    correlation_id String comment 'Id of the first cause; empty if none',
    causation_id String comment 'Id of the event that caused this one; empty if none',
    data String comment 'Data as JSON, as it stands in the log (camelCase, unknown fields included)' codec(ZSTD(1)),
    index by_offset offset type minmax granularity 1,
    index by_user user_id type bloom_filter(0.01) granularity 4,
    index by_id id type bloom_filter(0.01) granularity 4
) engine = @engine(MergeTree)
partition by toYYYYMM(time)
order by (name, time, topic, partition, offset)
settings @window
comment 'Every event of the log, repetitions included (see is_first); one row for each position';
@distributed(events, cityHash64(user_id));

create table if not exists @table(transactions) (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    time DateTime64(3, 'UTC') comment 'When it happened',
    user_id String comment 'Person whose account it is',
    transaction String comment 'Id of the posting',
    account String comment 'Bank account',
    direction LowCardinality(String) comment 'credit or debit',
    amount Decimal(38, 18) comment 'Amount without sign, in the currency beside it',
    signed_amount Decimal(38, 18) comment 'Amount with the sign it has on the balance: credits above zero, debits below',
    currency LowCardinality(String) comment 'ISO 4217 code of amount, signed_amount and balance_after; never add amounts of different currencies',
    status LowCardinality(String) comment 'pending or posted; only posted ones move the balance',
    balance_after Nullable(Decimal(38, 18)) comment 'Balance as the bank stated it, for information',
    category LowCardinality(String) comment 'Category, empty if none',
    merchant String comment 'Merchant, empty if none',
    mcc LowCardinality(String) comment 'Merchant category code, empty if none',
    counterparty String comment 'Other side of the posting, empty if none',
    description String comment 'Text of the posting, empty if none' codec(ZSTD(1)),
    transfer String comment 'Transfer that it belongs to, empty if none',
    reverses String comment 'Posting that it reverses, empty if none',
    value_date Nullable(Date32) comment 'Value date, if the bank gave one',
    index by_offset offset type minmax granularity 1,
    index by_user user_id type bloom_filter(0.01) granularity 4
) engine = @engine(MergeTree)
partition by toYYYYMM(time)
order by (currency, time, user_id, topic, partition, offset)
settings @window
comment 'Postings on bank accounts (bfc.transaction.posted), each fact once';
@distributed(transactions, cityHash64(user_id));

create table if not exists @table(trades) (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    time DateTime64(3, 'UTC') comment 'When it happened',
    user_id String comment 'Person whose account it is',
    trade String comment 'Id of the trade',
    order_id String comment 'Order that it executes, empty if unknown',
    account String comment 'Trading account',
    symbol String comment 'What was traded',
    instrument LowCardinality(String) comment 'equity, etf, mutual_fund, bond, option, future, crypto or fx',
    side LowCardinality(String) comment 'buy or sell',
    quantity Decimal(38, 18) comment 'Units traded, without sign',
    price Decimal(38, 18) comment 'Price of one unit, in the currency beside it',
    currency LowCardinality(String) comment 'ISO 4217 code of price and fee',
    fee Decimal(38, 18) comment 'Fee, zero if none was given',
    index by_offset offset type minmax granularity 1,
    index by_user user_id type bloom_filter(0.01) granularity 4
) engine = @engine(MergeTree)
partition by toYYYYMM(time)
order by (symbol, time, user_id, topic, partition, offset)
settings @window
comment 'Executed trades (vyomo.trade.executed), each fact once';
@distributed(trades, cityHash64(user_id));

create table if not exists @table(prices) (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    time DateTime64(3, 'UTC') comment 'When it happened; of two ticks at one instant the later in the log counts',
    symbol String comment 'What is priced',
    price Decimal(38, 18) comment 'Price of one unit, in the currency beside it',
    currency LowCardinality(String) comment 'ISO 4217 code of price',
    venue LowCardinality(String) comment 'Where it was quoted, empty if not said',
    index by_offset offset type minmax granularity 1
) engine = @engine(MergeTree)
partition by toYYYYMM(time)
order by (symbol, time, topic, partition, offset)
settings @window
comment 'Price ticks (market.price.ticked), each fact once';
@distributed(prices, cityHash64(symbol));

create table if not exists @table(net_worth_daily) (
    topic LowCardinality(String) comment 'Topic of the log',
    partition UInt16 comment 'Partition of the topic',
    offset UInt64 comment 'Offset in the partition; (topic, partition, offset) is unique',
    time DateTime64(3, 'UTC') comment 'When the snapshot was taken',
    user_id String comment 'Person whose wealth it is',
    day Date32 comment 'Day whose end (UTC) the figures describe; the snapshot taken last is the one that counts',
    currency LowCardinality(String) comment 'ISO 4217 code of all figures',
    net_worth Decimal(38, 18) comment 'Assets less liabilities',
    assets Decimal(38, 18) comment 'Sum of the lines above zero',
    liabilities Decimal(38, 18) comment 'Sum of the lines below zero, as a positive number',
    by_category Map(LowCardinality(String), Decimal(38, 18)) comment 'Net worth by category (cash, savings, equities ...)',
    index by_offset offset type minmax granularity 1
) engine = @engine(MergeTree)
partition by toYYYYMM(time)
order by (user_id, day, time, topic, partition, offset)
settings @window
comment 'Snapshots of net worth (wealth.snapshot.taken), each fact once';
@distributed(net_worth_daily, cityHash64(user_id));
