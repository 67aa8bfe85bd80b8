//! What the demonstration's programs should write, computed apart from them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

#[derive(Default)]
struct Region {
    orders: usize,
    revenue_cents: i64,
    refunded_cents: i64,
}

/// What `demo/analyst/report.py` should write as `report.csv` for the CSV files of a directory.
pub(crate) fn report(data: &Path) -> Result<String> {
    let mut region_of = HashMap::new();
    for [customer, _, region] in rows(&data.join("customers.csv"))? {
        region_of.insert(customer, region);
    }
    let mut regions: BTreeMap<String, Region> = BTreeMap::new();
    let mut ordered_in = HashMap::new();
    for month in 1..=3 {
        for [order, _, customer, _, quantity, price] in rows(&data.join(format!("orders-2026-0{month}.csv")))?
        {
            let region = region_of.get(&customer).context("an order of nobody")?;
            let sum = regions.entry(region.clone()).or_default();
            sum.orders += 1;
            sum.revenue_cents += quantity.parse::<i64>()? * cents(&price)?;
            ordered_in.insert(order, region.clone());
        }
    }
    for [order, amount, _] in rows(&data.join("refunds.csv"))? {
        let region = ordered_in.get(&order).context("a refund of nothing")?;
        regions.entry(region.clone()).or_default().refunded_cents += cents(&amount)?;
    }
    let lines = regions.iter().map(|(name, sum)| {
        let net = sum.revenue_cents - sum.refunded_cents;
        format!(
            "{name},{},{},{},{}\n",
            sum.orders,
            money(sum.revenue_cents),
            money(sum.refunded_cents),
            money(net)
        )
    });
    Ok(std::iter::once("region,orders,revenue,refunded,net\n".to_owned()).chain(lines).collect())
}

/// What `demo/e2b/totals.py` should write as `totals.csv` for a file of orders.
pub(crate) fn totals(orders: &Path) -> Result<String> {
    let mut products: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for [_, _, _, product, quantity, price] in rows(orders)? {
        let (units, revenue_cents) = products.entry(product).or_default();
        let quantity: i64 = quantity.parse()?;
        *units += quantity;
        *revenue_cents += quantity * cents(&price)?;
    }
    let lines = products
        .iter()
        .map(|(product, (units, revenue_cents))| format!("{product},{units},{}\n", money(*revenue_cents)));
    Ok(std::iter::once("product,units,revenue\n".to_owned()).chain(lines).collect())
}

/// The rows of a file. Only its last field may hold a comma.
fn rows<const FIELDS: usize>(file: &Path) -> Result<Vec<[String; FIELDS]>> {
    let text = fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))?;
    let fields = |line: &str| {
        let fields: Vec<String> = line.splitn(FIELDS, ',').map(str::to_owned).collect();
        fields.try_into().ok().with_context(|| format!("{}: not {FIELDS} fields: {line}", file.display()))
    };
    text.lines().skip(1).map(fields).collect()
}

fn cents(money: &str) -> Result<i64> {
    let (whole, rest) = money.split_once('.').with_context(|| format!("not an amount: {money}"))?;
    Ok(whole.parse::<i64>()? * 100 + rest.parse::<i64>()?)
}

fn money(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
