"""Databases as the deployed application creates them."""

import os
import shutil
import sqlite3
from pathlib import Path

ROOT = Path(__file__).parents[1]
_SHARED = "/dev/shm"
# A folder in memory for temporary files; None if there is none, or too little space.
MEMORY = None
if os.access(_SHARED, os.W_OK) and shutil.disk_usage(_SHARED).free > 2**30:
    MEMORY = _SHARED

# The application's DDL, of another ORM: strings without a length, and named CHECKs.
APPLICATION_TABLES = """
CREATE TABLE categories (
    category_id VARCHAR NOT NULL,
    category_name VARCHAR NOT NULL,
    season_start_date DATE NOT NULL,
    season_end_date DATE NOT NULL,
    season_length_weeks INTEGER NOT NULL,
    archetype VARCHAR NOT NULL,
    description TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (category_id),
    CONSTRAINT check_archetype
        CHECK (archetype IN ('FASHION_RETAIL', 'STABLE_CATALOG', 'CONTINUOUS'))
);
CREATE TABLE store_clusters (
    cluster_id VARCHAR NOT NULL,
    cluster_name VARCHAR NOT NULL,
    fashion_tier VARCHAR NOT NULL,
    description TEXT,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (cluster_id),
    CONSTRAINT check_fashion_tier
        CHECK (fashion_tier IN ('PREMIUM', 'MAINSTREAM', 'VALUE'))
);
CREATE TABLE workflows (
    workflow_id VARCHAR NOT NULL,
    workflow_type VARCHAR NOT NULL,
    forecast_id VARCHAR,
    category_id VARCHAR NOT NULL,
    status VARCHAR(17) NOT NULL,
    current_agent VARCHAR,
    progress_pct INTEGER,
    forecast_horizon_weeks INTEGER NOT NULL,
    season_start_date VARCHAR NOT NULL,
    replenishment_strategy VARCHAR NOT NULL,
    dc_holdback_percentage FLOAT NOT NULL,
    markdown_checkpoint_week INTEGER,
    input_data JSON,
    output_data JSON,
    error_message VARCHAR,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    started_at DATETIME,
    completed_at DATETIME,
    updated_at DATETIME,
    PRIMARY KEY (workflow_id)
);
CREATE TABLE stores (
    store_id VARCHAR NOT NULL,
    store_name VARCHAR NOT NULL,
    cluster_id VARCHAR NOT NULL,
    store_size_sqft INTEGER NOT NULL,
    location_tier VARCHAR NOT NULL,
    median_income INTEGER NOT NULL,
    store_format VARCHAR NOT NULL,
    region VARCHAR NOT NULL,
    avg_weekly_sales_12mo FLOAT NOT NULL,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (store_id),
    CONSTRAINT check_location_tier CHECK (location_tier IN ('A', 'B', 'C')),
    CONSTRAINT check_store_format
        CHECK (store_format IN ('MALL', 'STANDALONE', 'SHOPPING_CENTER', 'OUTLET')),
    CONSTRAINT check_region
        CHECK (region IN ('NORTHEAST', 'SOUTHEAST', 'MIDWEST', 'WEST')),
    FOREIGN KEY(cluster_id) REFERENCES store_clusters (cluster_id)
);
CREATE TABLE historical_sales (
    sale_id VARCHAR NOT NULL,
    store_id VARCHAR NOT NULL,
    category_id VARCHAR NOT NULL,
    week_start_date DATE NOT NULL,
    units_sold INTEGER NOT NULL,
    created_at DATETIME DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (sale_id),
    CONSTRAINT check_units_sold CHECK (units_sold >= 0),
    FOREIGN KEY(store_id) REFERENCES stores (store_id),
    FOREIGN KEY(category_id) REFERENCES categories (category_id)
);
CREATE INDEX ix_workflows_workflow_id ON workflows (workflow_id);
CREATE INDEX idx_historical_sales_date ON historical_sales (week_start_date);
CREATE INDEX idx_historical_sales_store_category
    ON historical_sales (store_id, category_id);
"""

APPLICATION_DATA = """
INSERT INTO categories (category_id, category_name, season_start_date, season_end_date,
                        season_length_weeks, archetype)
    VALUES ('C1', 'Dresses', '2025-02-17', '2025-05-11', 12, 'FASHION_RETAIL');
INSERT INTO store_clusters (cluster_id, cluster_name, fashion_tier)
    VALUES ('K1', 'Premium', 'PREMIUM');
INSERT INTO stores (store_id, store_name, cluster_id, store_size_sqft, location_tier,
                    median_income, store_format, region, avg_weekly_sales_12mo)
    VALUES ('S001', 'One', 'K1', 12000, 'A', 90000, 'MALL', 'WEST', 410.5),
           ('S002', 'Two', 'K1', 9000, 'B', 70000, 'OUTLET', 'MIDWEST', 220.0);
INSERT INTO workflows (workflow_id, workflow_type, category_id, status,
                       forecast_horizon_weeks, season_start_date,
                       replenishment_strategy, dc_holdback_percentage)
    VALUES ('W1', 'forecast', 'C1', 'running', 12, '2025-02-17', 'weekly', 0.45);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1234)
    INSERT INTO historical_sales (sale_id, store_id, category_id, week_start_date,
                                  units_sold)
    SELECT 'H' || i, 'S00' || (1 + i % 2), 'C1', '2024-02-19', i FROM n;
"""


def execute(path, script):
    """Execute SQL with plain sqlite3, which does not enforce foreign keys."""
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()


def fetch(path, sql, *params):
    """Return the rows of a query with plain sqlite3, independent of the tested code."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql, params).fetchall()
    finally:
        connection.close()


def dump(path):
    """Return the whole file as SQL text, sqlite_sequence included."""
    connection = sqlite3.connect(path)
    try:
        return "\n".join(connection.iterdump())
    finally:
        connection.close()


# Both definitions exist in deployed databases, and both are complete.
SPECIFICATION_SHAPE = """
CREATE TABLE IF NOT EXISTS weekly_actuals (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow_id VARCHAR(50) NOT NULL,
    week_number INTEGER NOT NULL,
    week_start_date DATE NOT NULL,
    week_end_date DATE NOT NULL,
    store_id VARCHAR(50) NOT NULL,
    category_id VARCHAR(50) NOT NULL,
    actual_units_sold INTEGER NOT NULL,
    forecast_units_sold INTEGER,
    variance_pct FLOAT,
    uploaded_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (workflow_id) REFERENCES workflows(workflow_id) ON DELETE CASCADE,
    FOREIGN KEY (store_id) REFERENCES stores(store_id) ON DELETE CASCADE,
    FOREIGN KEY (category_id) REFERENCES categories(category_id) ON DELETE CASCADE,
    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id)
);
CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals(workflow_id, week_number);
CREATE INDEX idx_weekly_actuals_store ON weekly_actuals(store_id);
CREATE INDEX idx_weekly_actuals_date ON weekly_actuals(week_start_date);
"""

OTHER_ORM_SHAPE = """
CREATE TABLE weekly_actuals (
    id INTEGER NOT NULL,
    workflow_id VARCHAR(50) NOT NULL,
    week_number INTEGER NOT NULL,
    week_start_date DATE NOT NULL,
    week_end_date DATE NOT NULL,
    store_id VARCHAR(50) NOT NULL,
    category_id VARCHAR(50) NOT NULL,
    actual_units_sold INTEGER NOT NULL,
    forecast_units_sold INTEGER,
    variance_pct FLOAT,
    uploaded_at DATETIME NOT NULL,
    PRIMARY KEY (id),
    CONSTRAINT unique_workflow_week_store UNIQUE (workflow_id, week_number, store_id),
    FOREIGN KEY(workflow_id) REFERENCES workflows (workflow_id) ON DELETE CASCADE,
    FOREIGN KEY(store_id) REFERENCES stores (store_id) ON DELETE CASCADE,
    FOREIGN KEY(category_id) REFERENCES categories (category_id) ON DELETE CASCADE
);
CREATE INDEX idx_weekly_actuals_date ON weekly_actuals (week_start_date);
CREATE INDEX idx_weekly_actuals_workflow ON weekly_actuals (workflow_id, week_number);
CREATE INDEX idx_weekly_actuals_store ON weekly_actuals (store_id);
"""

# A row that an earlier smoke test left: its workflow does not exist.
ORPHAN = """
INSERT INTO weekly_actuals VALUES
    (1, 'test_workflow', 1, '2025-01-06', '2025-01-12', 'S001', 'C1', 100, 95, 0.0526,
     '2025-01-05 10:00:00');
"""
