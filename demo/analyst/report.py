"""Revenue of the quarter by region, after refunds. Reads /input/*.csv, writes /output/report.csv and report.txt."""

import csv
import glob
import os
from collections import defaultdict
from decimal import Decimal

INPUT, OUTPUT = "/input", "/output"


def rows(name):
    with open(os.path.join(INPUT, name), newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)


region_of = {row["customer"]: row["region"] for row in rows("customers.csv")}

orders = {}
for path in sorted(glob.glob(os.path.join(INPUT, "orders-*.csv"))):
    for row in rows(os.path.basename(path)):
        total = int(row["quantity"]) * Decimal(row["unit_price"])
        orders[row["order"]] = (region_of[row["customer"]], total)

count = defaultdict(int)
revenue = defaultdict(Decimal)
refunded = defaultdict(Decimal)
for region, total in orders.values():
    count[region] += 1
    revenue[region] += total
for row in rows("refunds.csv"):
    refunded[orders[row["order"]][0]] += Decimal(row["amount"])

with open(os.path.join(OUTPUT, "report.csv"), "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["region", "orders", "revenue", "refunded", "net"])
    for region in sorted(count):
        net = revenue[region] - refunded[region]
        writer.writerow([region, count[region], revenue[region], refunded[region], net])

best = max(count, key=lambda region: revenue[region] - refunded[region])
with open(os.path.join(OUTPUT, "report.txt"), "w", encoding="utf-8") as file:
    file.write(f"{len(orders)} orders; the best region of the quarter is {best}.\n")

print(f"read {len(orders)} orders, wrote the report to {OUTPUT}")
