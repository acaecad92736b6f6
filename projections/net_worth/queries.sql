-- All reads of net worth. Each asks for one person's rows by the head of their primary key, or for
-- shared market data by symbol or pair. Columns stand in the order of the rows' fields.

-- name: now
-- All that a person's net worth of now is made of, in one statement: it sees one moment, and takes
-- the locks of all tables, the projection's first one first, before it looks (`reading.one_state`
-- does the same for several statements).
select
    array(
        select row(user_id, platform, account, kind, currency, name, institution, holds_cash,
            opened_at, opened_offset, closed_at, facts)
        from accounts where user_id = $1 order by platform, account
    ) as accounts,
    array(
        select row(user_id, platform, account, currency, amount, since, since_offset)
        from balances where user_id = $1 order by platform, account, currency
    ) as balances,
    array(
        select row(user_id, account, symbol, last_time, last_offset, books)
        from positions where user_id = $1 order by account, symbol
    ) as positions,
    array(
        select row(p.symbol, p.day, p.price, p.currency, p.time, p.log_offset)
        from (select distinct symbol from positions where user_id = $1) held
        cross join lateral (
            select * from prices
            where prices.symbol = held.symbol
            order by prices.day desc
            limit 1
        ) p
        order by p.symbol
    ) as prices,
    -- All pairs: there are some hundreds at most, and a cross rate may need any of them.
    array(select row(base, quote, rate, time, log_offset) from fixings) as fixings,
    (now() at time zone 'UTC')::date as today

-- name: accounts
select user_id, platform, account, kind, currency, name, institution, holds_cash, opened_at,
    opened_offset, closed_at, facts
from accounts
where user_id = $1
order by platform, account

-- name: balances
select user_id, platform, account, currency, amount, since, since_offset
from balances
where user_id = $1
order by platform, account, currency

-- name: balances_at
-- What the days up to and with the one asked for have moved.
select platform, account, currency, sum(amount) as amount
from balance_days
where user_id = $1 and day <= $2
group by platform, account, currency

-- name: entries_before
-- Positions of a past day are folded again from these, in this order.
select user_id, account, symbol, time, log_offset, event_id, what, currency, instrument, quantity,
    price, fee, amount, numerator, denominator
from position_entries
where user_id = $1 and time < $2
order by account, symbol, time, log_offset

-- name: prices
-- One index probe for each symbol: its latest day, or the latest up to the day asked for.
select p.symbol, p.day, p.price, p.currency, p.time, p.log_offset
from unnest($1::text[]) as held(symbol)
cross join lateral (
    select * from prices
    where prices.symbol = held.symbol and prices.day <= coalesce($2::date, 'infinity')
    order by prices.day desc
    limit 1
) p

-- name: fixings_at
select d.base, d.quote, d.rate, d.time, d.log_offset
from fixings f
cross join lateral (
    select * from fixing_days
    where fixing_days.base = f.base and fixing_days.quote = f.quote and fixing_days.day <= $1
    order by fixing_days.day desc
    limit 1
) d

-- name: owners
-- Whose accounts these are, on any platform.
select distinct account, user_id from accounts
where account = any($1::text[]) and opened_at is not null
