-- Which log a row is of: positions are unique in one log, not over several.
alter table @table(events) add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it, their numbers are in log_retirements of PostgreSQL';
alter table @table(transactions) add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table @table(trades) add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table @table(prices) add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table @table(net_worth_daily) add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table @table(journey_steps) add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table events @on_cluster add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it, their numbers are in log_retirements of PostgreSQL';
alter table transactions @on_cluster add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table trades @on_cluster add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table prices @on_cluster add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table net_worth_daily @on_cluster add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
alter table journey_steps @on_cluster add column if not exists log UInt16 default 0 comment '0: the present log; others were given up for it';
