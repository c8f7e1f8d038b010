// grade/tau2/telecom_fixture.h: a small company and a phone, in the form in which telecom's data
// are published; names and numbers are ours, but for the ids that its tasks speak of. Tests only.
#pragma once

#include "base/toml.h"
#include "grade/tau2/domains.h"

namespace dure {

inline constexpr const char* kTelecomDatabase = R"(
[[plans]]
plan_id = "P1"
name = "Small"
data_limit_gb = 15.0
price_per_month = 65.0
data_refueling_price_per_gb = 2.0

[[devices]]
device_id = "D1"
device_type = "phone"
model = "Brick 3"
is_esim_capable = true
activation_date = 2025-01-20T14:30:00

[[lines]]
line_id = "L1001"
phone_number = "555-123-2001"
status = "Suspended"
plan_id = "P1"

[[lines]]
line_id = "L1002"
phone_number = "555-123-2002"
status = "Active"
plan_id = "P1"
device_id = "D1"
data_used_gb = 8
roaming_enabled = true

[[customers]]
customer_id = "C1001"
full_name = "Ann Boole"
date_of_birth = "1985-06-15"
email = "ann@example.com"
phone_number = "555-123-2002"
account_status = "Active"
created_at = "2025-01-15T10:30:00"
line_ids = ["L1001", "L1002"]
bill_ids = ["B1", "B2"]
[[customers.payment_methods]]
method_type = "PayPal"
account_number_last_4 = "1235"
expiration_date = "12/2026"
[customers.address]
street = "1 Well St"
city = "Cork"
state = "CA"
zip_code = "90210"

[[customers]]
customer_id = "C1002"
full_name = "Bo Curry"
date_of_birth = "1990-01-01"
email = "bo@example.com"
phone_number = "555-123-9999"
[customers.address]
street = "2 Well St"
city = "Cork"
state = "CA"
zip_code = "90210"

[[bills]]
bill_id = "B1"
customer_id = "C1001"
period_start = "2025-01-01"
period_end = "2025-01-31"
issue_date = "2025-01-05"
total_due = 160.5
due_date = "2025-01-19"
status = "Paid"
[[bills.line_items]]
description = "Small"
amount = 160.5
date = "2025-01-05"
item_type = "Plan Charge"

[[bills]]
bill_id = "B2"
customer_id = "C1001"
period_start = "2025-03-01"
period_end = "2025-03-31"
issue_date = "2025-03-01"
total_due = 0.0
due_date = "2025-03-15"
)";

inline constexpr const char* kTelecomUserDatabase = R"(
[device]
battery_level = 71
[device.active_apn_settings]
apn_name = "internet"
[device.app_statuses.messaging]
app_name = "messaging"
[device.app_statuses.messaging.permissions]
sms = true
storage = true
)";

// A line without roaming and a phone in Airplane Mode, abroad: each side has its part to do.
inline constexpr const char* kTelecomTask =
    R"({"id": "[mobile_data_issue]abroad[PERSONA:None]",
 "user_scenario": {"instructions": "Get online."},
  "initial_state": {"initialization_actions": [
    {"env_type": "user", "func_name": "set_user_info",
     "arguments": {"name": "Ann", "phone_number": "555-123-2002"}},
    {"env_type": "user", "func_name": "set_user_location", "arguments": {"abroad": true}},
    {"env_type": "user", "func_name": "turn_roaming_on", "arguments": {}},
    {"env_type": "assistant", "func_name": "disable_roaming",
     "arguments": {"customer_id": "C1001", "line_id": "L1002"}},
    {"env_type": "user", "func_name": "turn_airplane_mode_on", "arguments": {}}]},
  "evaluation_criteria": {"actions": [
    {"requestor": "assistant", "name": "enable_roaming",
     "arguments": {"customer_id": "C1001", "line_id": "L1002"}},
    {"requestor": "user", "name": "toggle_airplane_mode", "arguments": {}}],
  "env_assertions": [
    {"env_type": "user", "func_name": "assert_mobile_data_status",
     "arguments": {"expected_status": true}},
    {"env_type": "user", "func_name": "assert_internet_speed",
     "arguments": {"expected_speed": 200, "expected_desc": "excellent"}}],
  "reward_basis": ["ENV_ASSERTION", "ACTION"]}})";

inline std::unique_ptr<Tau2World> telecom_fixture() {
  return tau2_telecom_world(parse_toml(kTelecomDatabase, "db.toml"),
                            parse_toml(kTelecomUserDatabase, "user_db.toml"));
}

}  // namespace dure
