// The user's side of telecom: tools on their phone, and the functions of initial states and
// assertions. What a tool shows is the signs of the status bar, and settings with their values.
#include "base/python_text.h"
#include "grade/python_value.h"
#include "grade/tau2/telecom.h"

namespace dure {
namespace {

const char* on_off(bool on) { return on ? "ON" : "OFF"; }
const char* yes_no(bool yes) { return yes ? "Yes" : "No"; }

// Behind what a change did.
Json with_bar(const Telecom& telecom, const std::string& said) {
  return said + "\nStatus Bar: " + status_bar(telecom.user.phone);
}
Json switched(const Telecom& telecom, const char* what, bool on) {
  return with_bar(telecom, std::string(what) + ": " + on_off(on));
}

Json network_status(Telecom& telecom, const Json&) {
  const Phone& phone = telecom.user.phone;
  std::string out = fmt::format(
      "Airplane Mode: {}\nSIM card: {}\nConnection: {}\nSignal: {}\nNetwork type: {}\n"
      "Mobile data: {}\nData roaming: {}\nWi-Fi: {}\nWi-Fi connected: {}",
      on_off(phone.airplane_mode), name_of(phone.sim()), name_of(phone.network_connection_status),
      name_of(phone.network_signal_strength), name_of(phone.network_technology_connected),
      on_off(phone.data_enabled), on_off(phone.roaming_enabled), on_off(phone.wifi_enabled),
      yes_no(phone.wifi_connected));
  if (phone.wifi_connected) out += "\nWi-Fi network: " + phone.wifi_ssid;
  return out;
}

Json set_network_mode(Telecom& telecom, const Json& arguments) {
  const Json& mode = arguments.at("mode");
  std::string all;
  for (const auto& [value, name] : enum_names(NetworkMode{})) {
    all += (all.empty() ? "" : ", ") + std::string(name);
    if (mode != Json(name)) continue;
    telecom.user.phone.network_mode_preference = value;
    search_network(telecom.user);
    return with_bar(telecom, "Network mode: " + std::string(name));
  }
  return with_bar(telecom, "Not changed: " + mode.dump() + " is none of: " + all);
}

Json speed_test(Telecom& telecom, const Json&) {
  const Speed speed = mobile_speed(telecom.user);
  if (!speed.mbps) return "Speed test failed: " + speed.word;
  return fmt::format("Speed test: {:.2f} Mbps ({})", *speed.mbps, speed.word);
}

Json toggle_airplane(Telecom& telecom, const Json&) {
  toggle_airplane_mode(telecom.user);
  return switched(telecom, "Airplane Mode", telecom.user.phone.airplane_mode);
}

// A switch that lets the phone look for a network again.
Json toggle_searching(Telecom& telecom, bool& setting, const char* what) {
  setting = !setting;
  search_network(telecom.user);
  return switched(telecom, what, setting);
}
Json toggle_data(Telecom& telecom, const Json&) {
  return toggle_searching(telecom, telecom.user.phone.data_enabled, "Mobile data");
}
Json toggle_roaming(Telecom& telecom, const Json&) {
  return toggle_searching(telecom, telecom.user.phone.roaming_enabled, "Data roaming");
}
Json toggle_data_saver(Telecom& telecom, const Json&) {
  bool& setting = telecom.user.phone.data_saver_mode;
  setting = !setting;
  return switched(telecom, "Data Saver", setting);
}

using Toggle = Json (*)(Telecom&, const Json&);
// As the published functions do: toggled, and once more where that was the wrong way.
Json turn(Telecom& telecom, Toggle toggle, const bool& setting, bool wanted) {
  toggle(telecom, {});
  if (setting != wanted) toggle(telecom, {});
  return on_off(setting);
}

Json sim_status(Telecom& telecom, const Json&) {
  return std::string("SIM card: ") + name_of(telecom.user.phone.sim());
}
Json set_sim_missing(Telecom& telecom, bool missing) {
  telecom.user.phone.sim_card_missing = missing;
  search_network(telecom.user);
  return with_bar(telecom, missing ? "SIM card taken out" : "SIM card put in again");
}
Json lock_sim(Telecom& telecom, const Json& arguments) {
  SimStatus& status = telecom.user.phone.sim_card_status;
  const std::string& mode = text_argument(arguments, "mode");
  if (mode == "pin") status = SimStatus::kLockedPin;
  if (mode == "puk") status = SimStatus::kLockedPuk;
  search_network(telecom.user);
  return "SIM card locked";
}

Json apn_settings(Telecom& telecom, const Json&) {
  const ApnSettings& apn = telecom.user.phone.active_apn_settings;
  return std::string("APN name: ") + name_of(apn.apn_name) +
         "\nMMSC URL (picture messages): " + (apn.mmsc_url.empty() ? "not set" : apn.mmsc_url);
}
Json set_apn(Telecom& telecom, const Json& arguments) {
  ApnSettings& apn = telecom.user.phone.active_apn_settings;
  apn = read_apn_settings(arguments.at("apn_settings"), "apn_settings");
  search_network(telecom.user);
  return with_bar(telecom, std::string("APN name: ") + name_of(apn.apn_name));
}
Json reset_apn(Telecom& telecom, const Json&) {
  telecom.user.phone.active_apn_settings.reset_at_reboot = true;
  search_network(telecom.user);
  return with_bar(telecom, "APN settings: reset at the next restart");
}
Json break_apn(Telecom& telecom, const Json&) {
  telecom.user.phone.active_apn_settings.apn_name = ApnName::kBroken;
  search_network(telecom.user);
  return "APN settings broken";
}
Json break_mms(Telecom& telecom, const Json&) {
  telecom.user.phone.active_apn_settings.mmsc_url.clear();
  return "MMSC URL removed";
}

Json wifi_status(Telecom& telecom, const Json&) {
  const Phone& phone = telecom.user.phone;
  if (!phone.wifi_enabled) return "Wi-Fi: OFF";
  if (!phone.wifi_connected) return "Wi-Fi: ON, not connected";
  return "Wi-Fi: ON, connected to '" + phone.wifi_ssid +
         "', signal: " + name_of(phone.wifi_signal_strength);
}
Json switch_wifi(Telecom& telecom, const Json&) {
  Phone& phone = telecom.user.phone;
  if (phone.airplane_mode) return with_bar(telecom, "Not changed: Airplane Mode is ON");
  toggle_wifi(phone);
  return switched(telecom, "Wi-Fi", phone.wifi_enabled);
}
Json set_wifi_calling(Telecom& telecom, const Json& arguments) {
  Phone& phone = telecom.user.phone;
  phone.wifi_calling_enabled = flag_argument(arguments, "enabled");
  const Json* mms = arguments.find("mms_over_wifi");
  if (mms != nullptr && !mms->is_null())
    phone.wifi_calling_mms_over_wifi = mms->as_bool("mms_over_wifi");
  return std::string("Wi-Fi Calling: ") + on_off(phone.wifi_calling_enabled);
}

Json vpn_status(Telecom& telecom, const Json&) {
  const Phone& phone = telecom.user.phone;
  if (!phone.vpn_connected)
    return phone.vpn_enabled_setting ? "VPN: ON in the settings, not connected" : "VPN: OFF";
  if (!phone.vpn_details) return "VPN: connected";
  return "VPN: connected, " + python_json(to_json(*phone.vpn_details));
}
Json start_vpn(Telecom& telecom, const Json&) {
  Phone& phone = telecom.user.phone;
  if (phone.vpn_connected) return "VPN: connected already";
  connect_vpn(phone);
  return with_bar(telecom, "VPN: connected");
}
Json stop_vpn(Telecom& telecom, const Json&) {
  const bool was = disconnect_vpn(telecom.user.phone);
  return with_bar(telecom, was ? "VPN: disconnected" : "VPN: none was connected");
}
Json break_vpn(Telecom& telecom, const Json&) {
  Phone& phone = telecom.user.phone;
  connect_vpn(phone);
  if (!phone.vpn_details) phone.vpn_details.emplace();
  phone.vpn_details->server_performance = Performance::kPoor;
  return "VPN: connected, and slow";
}

Json installed_apps(Telecom& telecom, const Json&) {
  std::string out = "Apps: ";
  for (const PhoneApp& app : telecom.user.phone.apps)
    out += (out.ends_with(": ") ? "" : ", ") + app.app_name;
  return out;
}

struct PermissionReader {
  std::vector<std::pair<std::string, bool*>> all;
  void operator()(const char* name, bool& field, const char*) { all.emplace_back(name, &field); }
};
std::vector<std::pair<std::string, bool*>> permissions_of(PhoneApp& app) {
  PermissionReader reader;
  app.permissions.visit(reader);
  return reader.all;
}
std::string no_app(const std::string& name) { return "There is no app '" + name + "'"; }

Json app_permissions(Telecom& telecom, const Json& arguments) {
  const std::string& name = text_argument(arguments, "app_name");
  PhoneApp* app = telecom.user.phone.app(name);
  if (app == nullptr) return no_app(name);
  std::string list;
  for (const auto& [permission, granted] : permissions_of(*app))
    if (*granted) list += (list.empty() ? "" : ", ") + permission;
  return "App '" + name + "' has the permissions: " + (list.empty() ? "none" : list);
}

enum class Permission { kRemoved, kGranted };
// What is said, and whether it was done.
std::pair<std::string, bool> set_permission(Telecom& telecom, const Json& arguments,
                                            Permission wanted) {
  const std::string& name = text_argument(arguments, "app_name");
  const std::string permission = python_lower(text_argument(arguments, "permission"));
  PhoneApp* app = telecom.user.phone.app(name);
  if (app == nullptr) return {no_app(name), false};
  std::string all;
  for (const auto& [known, field] : permissions_of(*app)) {
    all += (all.empty() ? "" : ", ") + known;
    if (known != permission) continue;
    *field = wanted == Permission::kGranted;
    return {
        "App '" + name + "': permission '" + permission + "' " + (*field ? "granted" : "removed"),
        true};
  }
  return {"There is no permission '" + permission + "' (" + all + ")", false};
}
Json grant_permission(Telecom& telecom, const Json& arguments) {
  const auto [said, done] = set_permission(telecom, arguments, Permission::kGranted);
  return with_bar(telecom, (done ? "Done: " : "Not changed: ") + said);
}

Json reboot(Telecom& telecom, const Json&) {
  const bool resets = telecom.user.phone.active_apn_settings.reset_at_reboot;
  restart(telecom.user);
  return with_bar(telecom, resets ? "Restarted, with the APN settings reset" : "Restarted");
}

Json payment_request(Telecom& telecom, const Json&) {
  const auto& request = telecom.user.around.payment_request;
  if (!request) return "There is no payment request";
  return "You are asked to pay bill " + request->bill_id + ": " +
         python_float(request->amount_due) + " USD";
}
Json make_payment(Telecom& telecom, const Json&) {
  auto& request = telecom.user.around.payment_request;
  if (!request) return "There is no payment request";
  request->paid = true;
  return "You paid bill " + request->bill_id + ": " + python_float(request->amount_due) + " USD";
}

Json assert_speed(Telecom& telecom, const Json& arguments) {
  const Speed speed = mobile_speed(telecom.user);
  const Json* word = arguments.find("expected_desc");
  const bool fast = speed.mbps.value_or(0) >= number_argument(arguments, "expected_speed");
  if (word == nullptr || word->is_null()) return fast;
  return fast && python_lower(speed.word) == python_lower(word->as_string("expected_desc"));
}

// `assert_NAME(expected_status)` of a truth.
bool expected(const Json& arguments) { return flag_argument(arguments, "expected_status"); }

Tau2Functions<Telecom> network_tools() {
  return {
      {{"check_status_bar",
        "Shows the signs at the top of your screen: signal, network, mobile data, Wi-Fi, VPN, "
        "battery.",
        {}},
       [](Telecom& telecom, const Json&) {
         return Json("Status Bar: " + status_bar(telecom.user.phone));
       }},
      {{"check_network_status",
        "Shows Airplane Mode, the SIM card, the connection to the network and its signal, mobile "
        "data, data roaming, Wi-Fi.",
        {}},
       network_status},
      {{"check_network_mode_preference", "Shows which kinds of network your phone takes.", {}},
       [](Telecom& telecom, const Json&) {
         return Json(std::string("Network mode: ") +
                     name_of(telecom.user.phone.network_mode_preference));
       }},
      {{"set_network_mode_preference",
        "Sets which kinds of network your phone takes.",
        {{"mode", "4g_5g_preferred, 4g_only, 3g_only or 2g_only"}}},
       set_network_mode},
      {{"run_speed_test", "Measures how fast your mobile internet is.", {}}, speed_test},
      {{"toggle_airplane_mode",
        "Turns Airplane Mode on or off. While it is on, no radio of the phone works.",
        {}},
       toggle_airplane},
      {{"check_sim_status",
        "Shows whether your SIM card works, is missing, or is locked with a PIN or PUK.",
        {}},
       sim_status},
      {{"reseat_sim_card", "Takes your SIM card out and puts it in again.", {}},
       [](Telecom& telecom, const Json&) { return set_sim_missing(telecom, false); }},
      {{"toggle_data", "Turns mobile data on or off.", {}}, toggle_data},
      {{"toggle_roaming", "Turns data roaming on or off: mobile data in networks abroad.", {}},
       toggle_roaming},
      {{"check_data_restriction_status", "Shows whether Data Saver is on.", {}},
       [](Telecom& telecom, const Json&) {
         return Json(std::string("Data Saver: ") + on_off(telecom.user.phone.data_saver_mode));
       }},
      {{"toggle_data_saver_mode",
        "Turns Data Saver on or off. While it is on, less data are used, more slowly.",
        {}},
       toggle_data_saver},
      {{"check_apn_settings",
        "Shows the settings of the access point: its name, and where picture messages are sent.",
        {}},
       apn_settings},
      {{"set_apn_settings",
        "Sets the settings of the access point; what is left out is as it was delivered.",
        {{"apn_settings",
          "apn_name, reset_at_reboot, mms_apn, mmsc_url, mms_proxy, mms_port: those that differ",
          "object"}}},
       set_apn},
      {{"reset_apn_settings",
        "Brings the settings of the access point back to what was delivered, at the next restart.",
        {}},
       reset_apn}};
}

Tau2Functions<Telecom> other_tools() {
  return {
      {{"check_wifi_status",
        "Shows whether Wi-Fi is on, and the network you are connected to.",
        {}},
       wifi_status},
      {{"toggle_wifi", "Turns Wi-Fi on or off.", {}}, switch_wifi},
      {{"check_wifi_calling_status", "Shows whether Wi-Fi Calling is on: calls over Wi-Fi.", {}},
       [](Telecom& telecom, const Json&) {
         return Json(std::string("Wi-Fi Calling: ") +
                     on_off(telecom.user.phone.wifi_calling_enabled));
       }},
      {{"toggle_wifi_calling", "Turns Wi-Fi Calling on or off.", {}},
       [](Telecom& telecom, const Json&) {
         bool& setting = telecom.user.phone.wifi_calling_enabled;
         setting = !setting;
         return switched(telecom, "Wi-Fi Calling", setting);
       }},
      {{"check_vpn_status", "Shows whether a VPN is connected, and how it performs.", {}},
       vpn_status},
      {{"connect_vpn", "Connects to your VPN.", {}}, start_vpn},
      {{"disconnect_vpn", "Disconnects your VPN.", {}}, stop_vpn},
      {{"check_installed_apps", "Lists the apps of your phone.", {}}, installed_apps},
      {{"check_app_status", "Shows an app and its permissions.", {{"app_name", "Which app."}}},
       app_permissions},
      {{"check_app_permissions", "Shows the permissions of an app.", {{"app_name", "Which app."}}},
       app_permissions},
      {{"grant_app_permission",
        "Gives an app a permission.",
        {{"app_name", "Which app."}, {"permission", "Which one, in small letters."}}},
       grant_permission},
      {{"can_send_mms", "Shows whether your messaging app can send picture messages.", {}},
       [](Telecom& telecom, const Json&) {
         return Json(std::string("Picture messages can be sent: ") +
                     yes_no(can_send_mms(telecom.user)));
       }},
      {{"reboot_device", "Restarts your phone.", {}}, reboot},
      {{"check_payment_request", "Shows whether the agent asked you to pay a bill.", {}},
       payment_request},
      {{"make_payment", "Pays the bill that the agent asked you to pay.", {}}, make_payment}};
}

Tau2Functions<Telecom> initial_states() {
  return {{{"set_user_info", "", {{"name", ""}, {"phone_number", ""}}},
           [](Telecom& telecom, const Json& arguments) {
             telecom.user.around.name = text_argument(arguments, "name");
             telecom.user.around.phone_number = text_argument(arguments, "phone_number");
             return Json();
           }},
          {{"set_user_location", "", {{"abroad", ""}}},
           [](Telecom& telecom, const Json& arguments) {
             telecom.user.around.is_abroad = flag_argument(arguments, "abroad");
             return Json();
           }},
          {{"turn_airplane_mode_on", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_airplane, telecom.user.phone.airplane_mode, true);
           }},
          {{"turn_airplane_mode_off", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_airplane, telecom.user.phone.airplane_mode, false);
           }},
          {{"unseat_sim_card", "", {}},
           [](Telecom& telecom, const Json&) { return set_sim_missing(telecom, true); }},
          {{"lock_sim_card", "", {{"mode", ""}}}, lock_sim},
          {{"turn_data_on", "", {}},
           [](Telecom& telecom, const Json&) {
             telecom.user.phone.data_enabled = true;
             return Json();
           }},
          {{"turn_data_off", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_data, telecom.user.phone.data_enabled, false);
           }},
          {{"turn_roaming_on", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_roaming, telecom.user.phone.roaming_enabled, true);
           }},
          {{"turn_roaming_off", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_roaming, telecom.user.phone.roaming_enabled, false);
           }},
          {{"turn_data_saver_mode_on", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_data_saver, telecom.user.phone.data_saver_mode, true);
           }},
          {{"turn_data_saver_mode_off", "", {}},
           [](Telecom& telecom, const Json&) {
             return turn(telecom, toggle_data_saver, telecom.user.phone.data_saver_mode, false);
           }},
          {{"break_apn_settings", "", {}}, break_apn},
          {{"break_apn_mms_setting", "", {}}, break_mms},
          {{"set_wifi_calling", "", {{"enabled", ""}, {"mms_over_wifi", "", "", false}}},
           set_wifi_calling},
          {{"break_vpn", "", {}}, break_vpn},
          {{"remove_app_permission", "", {{"app_name", ""}, {"permission", ""}}},
           [](Telecom& telecom, const Json& arguments) {
             return Json(set_permission(telecom, arguments, Permission::kRemoved).first);
           }},
          {{"simulate_network_search", "", {}}, [](Telecom& telecom, const Json&) {
             search_network(telecom.user);
             return Json();
           }}};
}

Tau2Functions<Telecom> assertions() {
  const std::vector<Tau2Parameter> status = {{"expected_status", ""}};
  return {
      {{"assert_airplane_mode_status", "", status},
       [](Telecom& telecom, const Json& arguments) {
         return Json(telecom.user.phone.airplane_mode == expected(arguments));
       }},
      {{"assert_service_status", "", status},
       [](Telecom& telecom, const Json& arguments) {
         const auto wanted = enum_from_name<Connection>(text_argument(arguments, "expected_status"),
                                                        "expected_status");
         return Json(telecom.user.phone.network_connection_status == wanted);
       }},
      {{"assert_mobile_data_status", "", status},
       [](Telecom& telecom, const Json& arguments) {
         return Json(mobile_data_works(telecom.user) == expected(arguments));
       }},
      {{"assert_mobile_roaming_status", "", status},
       [](Telecom& telecom, const Json& arguments) {
         return Json(telecom.user.phone.roaming_enabled == expected(arguments));
       }},
      {{"assert_mobile_data_saver_mode_status", "", status},
       [](Telecom& telecom, const Json& arguments) {
         return Json(telecom.user.phone.data_saver_mode == expected(arguments));
       }},
      {{"assert_internet_speed", "", {{"expected_speed", ""}, {"expected_desc", "", "", false}}},
       assert_speed},
      {{"assert_internet_not_excellent", "", {}},
       [](Telecom& telecom, const Json&) {
         return Json(mobile_speed(telecom.user).word != "Excellent");
       }},
      {{"assert_can_send_mms", "", status},
       [](Telecom& telecom, const Json& arguments) {
         return Json(can_send_mms(telecom.user) == expected(arguments));
       }},
      {{"assert_mobile_data_usage_exceeded", "", status},
       [](Telecom& telecom, const Json& arguments) {
         return Json(telecom.user.around.mobile_data_usage_exceeded == expected(arguments));
       }}};
}

}  // namespace

const Tau2Functions<Telecom>& telecom_user_functions() {
  static const Tau2Functions<Telecom> functions = [] {
    Tau2Functions<Telecom> out = network_tools();
    for (Tau2Functions<Telecom> more : {other_tools(), initial_states(), assertions()})
      std::move(more.begin(), more.end(), std::back_inserter(out));
    return out;
  }();
  return functions;
}

}  // namespace dure
