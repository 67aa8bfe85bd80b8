"""What each product earned: reads orders.csv, writes totals.csv."""

import csv
from collections import defaultdict
from decimal import Decimal

units, revenue = defaultdict(int), defaultdict(Decimal)
with open("orders.csv", newline="", encoding="utf-8") as file:
    for row in csv.DictReader(file):
        units[row["product"]] += int(row["quantity"])
        revenue[row["product"]] += int(row["quantity"]) * Decimal(row["unit_price"])

with open("totals.csv", "w", newline="", encoding="utf-8") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["product", "units", "revenue"])
    writer.writerows([product, units[product], revenue[product]] for product in sorted(units))

print(f"{sum(units.values())} units of {len(units)} products")
