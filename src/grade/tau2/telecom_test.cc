// The company's tools, the phone's, and what one means on the other, against the rules that the
// published domain has.
#include <gtest/gtest.h>

#include "base/testing.h"
#include "grade/tau2/phone.h"
#include "grade/tau2/telecom_fixture.h"

namespace dure {
namespace {

class TelecomWorld : public testing::Test {
 protected:
  TelecomWorld() { run("set_user_info", R"({"name": "Ann", "phone_number": "555-123-2002"})"); }

  std::string agent(const char* name, const std::string& arguments) {
    return world->call(Tau2Side::kAssistant, name, parse_json(arguments, "a")).text;
  }
  std::string user(const char* name, const std::string& arguments = "{}") {
    return world->call(Tau2Side::kUser, name, parse_json(arguments, "a")).text;
  }
  Json run(const char* name, const std::string& arguments = "{}", Tau2Side side = Tau2Side::kUser) {
    return world->run(side, name, parse_json(arguments, "a"));
  }
  bool holds(const char* name, const char* status = "true") {
    return run(name, std::string(R"({"expected_status": )") + status + "}").as_bool();
  }
  double speed() {
    for (const double step : {200.0, 50.0, 10.0, 1.0})
      if (run("assert_internet_speed", R"({"expected_speed": )" + std::to_string(step) + "}")
              .as_bool())
        return step;
    return 0;
  }

  std::unique_ptr<Tau2World> world = telecom_fixture();
};

constexpr const char* kMine = R"({"customer_id": "C1001", "line_id": "L1002"})";

TEST_F(TelecomWorld, RecordsAreShownWholeAndInOrder) {
  EXPECT_EQ(agent("get_details_by_id", R"({"id": "L1002"})"),
            R"({"line_id": "L1002", "phone_number": "555-123-2002", "status": "Active", )"
            R"("plan_id": "P1", "device_id": "D1", "data_used_gb": 8.0, "data_refueling_gb": 0.0, )"
            R"("roaming_enabled": true, "contract_end_date": null, "last_plan_change_date": null, )"
            R"("last_sim_replacement_date": null, "suspension_start_date": null})");
  EXPECT_EQ(agent("get_details_by_id", R"({"id": "D1"})"),
            R"({"device_id": "D1", "device_type": "phone", "model": "Brick 3", "imei": null, )"
            R"("is_esim_capable": true, "activated": false, )"
            R"("activation_date": "2025-01-20 14:30:00", "last_esim_transfer_date": null})");
  const std::string ann = agent("get_customer_by_id", R"({"customer_id": "C1001"})");
  EXPECT_NE(ann.find(R"("address": {"street": "1 Well St", )"), std::string::npos) << ann;
  EXPECT_NE(ann.find(R"("created_at": "2025-01-15 10:30:00", "last_extension_date": null)"),
            std::string::npos);
  EXPECT_EQ(agent("get_customer_by_phone", R"({"phone_number": "555 123-2001"})"), ann);
  EXPECT_EQ(agent("get_customer_by_name", R"({"full_name": "ann boole", "dob": "1985-06-15"})"),
            "[" + ann + "]");
  EXPECT_EQ(agent("get_customer_by_name", R"({"full_name": "ann boole", "dob": "1985-06-16"})"),
            "[]");
  EXPECT_EQ(agent("get_data_usage", kMine),
            R"({"line_id": "L1002", "data_used_gb": "8.0", "data_limit_gb": "15.0", )"
            R"("data_refueling_gb": "0.0", "cycle_end_date": "2025-02-28"})");
}

TEST_F(TelecomWorld, WhatIsNotThereIsRefused) {
  for (const auto& [name, arguments] : std::vector<std::pair<const char*, const char*>>{
           {"get_customer_by_id", R"({"customer_id": "C9"})"},
           {"get_customer_by_phone", R"({"phone_number": "-"})"},
           {"get_details_by_id", R"({"id": "X1"})"},
           {"get_details_by_id", R"({"id": ""})"},
           {"get_details_by_id", R"({"id": 5})"},
           {"resume_line", kMine},
           {"suspend_line", R"({"customer_id": "C1002", "line_id": "L1002", "reason": "r"})"},
           {"refuel_data", R"({"customer_id": "C1001", "line_id": "L1002", "gb_amount": 0})"},
           {"refuel_data", R"({"customer_id": "C1001", "line_id": "L1002", "gb_amount": "2"})"},
           {"send_payment_request", R"({"customer_id": "C1002", "bill_id": "B1"})"},
           {"set_data_usage", R"({"customer_id": "C1001", "line_id": "L1002", "data_used_gb": 1})"},
           {"check_status_bar", "{}"}}) {
    const auto result = world->call(Tau2Side::kAssistant, name, parse_json(arguments, "a"));
    EXPECT_TRUE(result.failed) << name << arguments << result.text;
    EXPECT_TRUE(result.text.starts_with("Error: ")) << result.text;
  }
}

TEST_F(TelecomWorld, BillsAndPayment) {
  const std::string bills = agent("get_bills_for_customer", R"({"customer_id": "C1001"})");
  EXPECT_LT(bills.find("\"B2\""), bills.find("\"B1\""));  // the newest first
  EXPECT_EQ(agent("get_bills_for_customer", R"({"customer_id": "C1001", "limit": 0})"), "[]");
  EXPECT_EQ(user("make_payment"), "There is no payment request");
  run("suspend_line_for_overdue_bill",
      R"({"customer_id": "C1001", "line_id": "L1002", "new_bill_id": "B7", "contract_ended": true})",
      Tau2Side::kAssistant);
  EXPECT_EQ(agent("get_details_by_id", R"({"id": "B7"})"),
            R"({"bill_id": "B7", "customer_id": "C1001", "period_start": "2025-01-01", )"
            R"("period_end": "2025-01-31", "issue_date": "2025-01-01", "total_due": 65.0, )"
            R"("due_date": "2025-01-15", "line_items": [{"description": "Charge for line L1002", )"
            R"("amount": 65.0, "date": "2025-02-25", "item_type": "Charge"}], )"
            R"("status": "Overdue"})");
  const std::string line = agent("get_details_by_id", R"({"id": "L1002"})");
  EXPECT_NE(line.find(R"("contract_end_date": "2025-01-31")"), std::string::npos);
  EXPECT_NE(line.find(R"("suspension_start_date": "2025-02-25")"), std::string::npos);
  const char* overdue = R"({"overdue_bill_id": "B7"})";
  EXPECT_EQ(run("assert_no_overdue_bill", overdue, Tau2Side::kAssistant), Json(false));
  EXPECT_EQ(run("assert_no_overdue_bill", R"({"overdue_bill_id": "B8"})", Tau2Side::kAssistant),
            Json(true));

  agent("send_payment_request", R"({"customer_id": "C1001", "bill_id": "B7"})");
  EXPECT_NE(user("check_payment_request").find("B7: 65.0 USD"), std::string::npos);
  EXPECT_TRUE(world
                  ->call(Tau2Side::kAssistant, "send_payment_request",
                         parse_json(R"({"customer_id": "C1001", "bill_id": "B2"})", "a"))
                  .failed);  // one at a time
  user("make_payment");
  EXPECT_EQ(run("assert_no_overdue_bill", overdue, Tau2Side::kAssistant), Json(true));
  EXPECT_EQ(user("check_payment_request"), "There is no payment request");
}

// A line that was suspended has service again once it is resumed and the phone searched.
TEST_F(TelecomWorld, ALineShowsOnThePhone) {
  agent("suspend_line", R"({"customer_id": "C1001", "line_id": "L1002", "reason": "r"})");
  EXPECT_TRUE(holds("assert_service_status", "\"connected\""));  // it has not looked yet
  user("reboot_device");
  EXPECT_TRUE(holds("assert_service_status", "\"no_service\""));
  agent("resume_line", kMine);
  EXPECT_TRUE(holds("assert_service_status", "\"no_service\""));
  user("reboot_device");
  EXPECT_TRUE(holds("assert_service_status", "\"connected\""));
}

TEST_F(TelecomWorld, DataAreUsedUpAndRefueled) {
  const auto set = [&](const char* gb) {
    run("set_data_usage",
        std::string(R"({"customer_id": "C1001", "line_id": "L1002", "data_used_gb": )") + gb + "}",
        Tau2Side::kAssistant);
  };
  set("15.0");  // as much as there is
  EXPECT_TRUE(holds("assert_mobile_data_usage_exceeded"));
  EXPECT_TRUE(holds("assert_mobile_data_status", "false"));
  EXPECT_EQ(user("run_speed_test"), "Speed test failed: No Connection");
  const std::string refueled =
      agent("refuel_data", R"({"customer_id": "C1001", "line_id": "L1002", "gb_amount": 2})");
  EXPECT_NE(refueled.find(R"("new_data_refueling_gb": "2.0", "charge": "4.0")"), std::string::npos)
      << refueled;
  EXPECT_TRUE(holds("assert_mobile_data_status"));
  EXPECT_EQ(run("assert_data_refueling_amount",
                R"({"customer_id": "C1001", "line_id": "L1002", "expected_amount": 2.0})",
                Tau2Side::kAssistant),
            Json(true));
  const std::string bill = agent("get_details_by_id", R"({"id": "B2"})");  // the draft
  EXPECT_NE(bill.find(R"("total_due": 4.0)"), std::string::npos) << bill;
}

TEST_F(TelecomWorld, Abroad) {
  run("set_user_location", R"({"abroad": true})");
  EXPECT_TRUE(holds("assert_mobile_data_status", "false"));
  user("toggle_roaming");
  EXPECT_TRUE(holds("assert_mobile_data_status"));
  agent("disable_roaming", kMine);  // needs no search
  EXPECT_TRUE(holds("assert_mobile_data_status", "false"));
  agent("enable_roaming", kMine);
  EXPECT_TRUE(holds("assert_mobile_data_status"));
}

TEST_F(TelecomWorld, Speed) {
  EXPECT_EQ(user("run_speed_test"), "Speed test: 220.00 Mbps (Excellent)");  // as delivered: good
  run("simulate_network_search");
  EXPECT_EQ(user("run_speed_test"), "Speed test: 275.00 Mbps (Excellent)");
  EXPECT_EQ(user("set_network_mode_preference", R"({"mode": "2g_only"})"),
            "Network mode: 2g_only\nStatus Bar: 📶¹ Poor | 2G | 📱 Data Enabled | 🔋 71%");
  EXPECT_EQ(user("run_speed_test"), "Speed test: 0.05 Mbps (Very Poor)");
  EXPECT_TRUE(user("set_network_mode_preference", R"({"mode": "6g"})").starts_with("Not changed"));
  user("set_network_mode_preference", R"({"mode": "4g_only"})");
  EXPECT_EQ(user("run_speed_test"), "Speed test: 44.00 Mbps (Good)");
  user("set_network_mode_preference", R"({"mode": "4g_5g_preferred"})");
  run("break_vpn");
  EXPECT_EQ(user("run_speed_test"), "Speed test: 27.50 Mbps (Good)");
  user("toggle_data_saver_mode");
  EXPECT_EQ(user("run_speed_test"), "Speed test: 5.50 Mbps (Fair)");
  EXPECT_EQ(run("assert_internet_not_excellent"), Json(true));
  user("disconnect_vpn");
  EXPECT_EQ(user("run_speed_test"), "Speed test: 55.00 Mbps (Good)");
  user("toggle_data_saver_mode");
  EXPECT_EQ(speed(), 200);
  EXPECT_EQ(
      run("assert_internet_speed", R"({"expected_speed": 200, "expected_desc": "excellent"})"),
      Json(true));
  EXPECT_EQ(run("assert_internet_speed", R"({"expected_speed": 200, "expected_desc": "good"})"),
            Json(false));
}

TEST_F(TelecomWorld, WhatEndsService) {
  run("turn_airplane_mode_on");
  EXPECT_EQ(user("check_status_bar"), "Status Bar: ✈️ Airplane Mode | 🔋 71%");
  EXPECT_TRUE(user("toggle_wifi").starts_with("Not changed"));
  EXPECT_EQ(user("toggle_airplane_mode"),
            "Airplane Mode: OFF\nStatus Bar: 📶⁴ Excellent | 5G | 📱 Data Enabled | 🔋 71%");
  run("unseat_sim_card");
  EXPECT_EQ(user("check_sim_status"), "SIM card: missing");
  EXPECT_EQ(user("check_status_bar"), "Status Bar: 📵 No Signal | 📵 Data Disabled | 🔋 71%");
  user("reseat_sim_card");
  EXPECT_TRUE(holds("assert_service_status", "\"connected\""));
  run("break_apn_settings");
  EXPECT_TRUE(holds("assert_service_status", "\"no_service\""));
  user("reboot_device");
  EXPECT_TRUE(holds("assert_service_status", "\"no_service\""));
  user("reset_apn_settings");
  EXPECT_TRUE(holds("assert_service_status", "\"no_service\""));  // not before the restart
  user("reboot_device");
  EXPECT_TRUE(holds("assert_service_status", "\"connected\""));
  run("lock_sim_card", R"({"mode": "puk"})");
  EXPECT_EQ(user("check_sim_status"), "SIM card: locked_puk");
  user("reseat_sim_card");
  EXPECT_TRUE(holds("assert_service_status", "\"no_service\""));
}

TEST_F(TelecomWorld, PictureMessages) {
  EXPECT_TRUE(holds("assert_can_send_mms"));
  run("set_wifi_calling", R"({"enabled": true})");
  EXPECT_TRUE(holds("assert_can_send_mms"));
  run("set_wifi_calling", R"({"enabled": true, "mms_over_wifi": true})");
  EXPECT_TRUE(holds("assert_can_send_mms", "false"));
  user("toggle_wifi_calling");
  EXPECT_TRUE(holds("assert_can_send_mms"));
  for (const char* permission : {"sms", "storage"}) {
    const std::string which =
        std::string(R"({"app_name": "messaging", "permission": ")") + permission + "\"}";
    run("remove_app_permission", which);
    EXPECT_TRUE(holds("assert_can_send_mms", "false"));
    EXPECT_TRUE(user("grant_app_permission", which).starts_with("Done"));
    EXPECT_TRUE(holds("assert_can_send_mms"));
  }
  EXPECT_TRUE(user("grant_app_permission", R"({"app_name": "messaging", "permission": "flight"})")
                  .starts_with("Not changed"));
  EXPECT_EQ(user("check_app_permissions", R"({"app_name": "messaging"})"),
            "App 'messaging' has the permissions: sms, storage");
  EXPECT_EQ(user("check_installed_apps"), "Apps: messaging");  // those of the file alone
  user("set_network_mode_preference", R"({"mode": "2g_only"})");
  EXPECT_TRUE(holds("assert_can_send_mms", "false"));
  user("set_network_mode_preference", R"({"mode": "3g_only"})");
  EXPECT_TRUE(holds("assert_can_send_mms"));
  run("break_apn_mms_setting");
  EXPECT_TRUE(holds("assert_can_send_mms", "false"));
  user("reset_apn_settings");
  user("reboot_device");
  EXPECT_TRUE(holds("assert_can_send_mms"));
  user("set_apn_settings", R"({"apn_settings": {"mmsc_url": null}})");
  EXPECT_TRUE(holds("assert_can_send_mms", "false"));
  EXPECT_TRUE(user("set_apn_settings", R"({"apn_settings": {"colour": 1}})").starts_with("Error"));
  user("toggle_data");
  user("set_apn_settings", R"({"apn_settings": {}})");
  EXPECT_TRUE(holds("assert_can_send_mms", "false"));
}

// The company's and the user's tools are told apart, and every one is declared with its parameters.
TEST_F(TelecomWorld, Declarations) {
  const Json agent_tools = world->tools(Tau2Side::kAssistant);
  const Json user_tools = world->tools(Tau2Side::kUser);
  EXPECT_EQ(agent_tools.size(), 13u);
  EXPECT_EQ(user_tools.size(), 30u);
  for (const Json* list : {&agent_tools, &user_tools}) {
    for (const Json& tool : list->as_array()) {
      const Json& function = tool.at("function");
      EXPECT_FALSE(function.at("description").as_string().empty());
      for (const auto& [name, property] : function.at("parameters").at("properties").as_object())
        EXPECT_FALSE(property.at("description").as_string().empty()) << name;
    }
  }
  EXPECT_TRUE(world->has(Tau2Side::kUser, "break_vpn"));
  EXPECT_FALSE(world->has(Tau2Side::kAssistant, "break_vpn"));
}

TEST_F(TelecomWorld, StatesAreCopiedAndCompared) {
  const auto other = world->copy();
  EXPECT_TRUE(world->same_state(*other));
  user("toggle_wifi");
  EXPECT_FALSE(world->same_state(*other));
  user("toggle_wifi");
  EXPECT_TRUE(world->same_state(*other));
  // What a task's own action does has no consequence on the other side.
  world->call(Tau2Side::kAssistant, "send_payment_request",
              parse_json(R"({"customer_id": "C1001", "bill_id": "B2"})", "a"));
  const auto paid = world->copy();
  paid->replay(Tau2Side::kUser, "make_payment", Json::object());
  world->call(Tau2Side::kUser, "make_payment", Json::object());
  EXPECT_FALSE(world->same_state(*paid));
  paid->replay(Tau2Side::kUser, "no_such_tool", Json::object());
}

TEST_F(TelecomWorld, InitialData) {
  world->update(Tau2Side::kUser,
                parse_json(R"({"device": {"data_enabled": false, "vpn_details": null,
                  "app_statuses": {"messaging": {"permissions": {"sms": false}}}}})",
                           "data"));
  EXPECT_EQ(user("check_app_status", R"({"app_name": "messaging"})"),
            "App 'messaging' has the permissions: storage");
  EXPECT_NE(message_of([&] {
              world->update(Tau2Side::kUser, parse_json(R"({"device": {"colour": 1}})", "data"));
            }).find("user_data: device"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              world->update(Tau2Side::kAssistant,
                            parse_json(R"({"lines": [{"line_id": "L1"}]})", "data"));
            }).find("agent_data: lines 1: it has no field 'phone_number'"),
            std::string::npos);
}

TEST(TelecomFiles, WhatIsWrongWithThemIsSaid) {
  const auto refused = [](const std::string& more) {
    return message_of([&] {
      tau2_telecom_world(parse_toml(std::string(kTelecomDatabase) + more, "db.toml"), Json());
    });
  };
  EXPECT_EQ(refused("status = \"Lost\""),
            "db.toml: bills 2: status: 'Lost' is none of: Draft, Issued, Awaiting Payment, Paid, "
            "Overdue, Disputed");
  EXPECT_EQ(refused("colour = 1"), "db.toml: bills 2: there is no field 'colour'");
  EXPECT_EQ(refused("[[plans]]\nplan_id = \"P2\""), "db.toml: plans 2: it has no field 'name'");
}

}  // namespace
}  // namespace dure
