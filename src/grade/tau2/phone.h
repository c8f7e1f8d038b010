// grade/tau2/phone.h: the simulated phone of tau2's telecom domain, and what lies around it.
//
// Owns its settings, and what follows from them: the network it finds, whether data and picture
// messages work, how fast it is, the status bar. Not here: the user's tools on it
// (telecom_user.cc), the company's data (telecom.h).
//
// Source of fields, values and rules: sierra-research/tau2-bench, domains/telecom/user_tools.py
// (commit 10565d21) and user_data_model.py; signs of the status bar: its tech_support_manual.md.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/options.h"

namespace dure {

enum class SimStatus { kActive, kMissing, kLockedPin, kLockedPuk };
constexpr auto enum_names(SimStatus) {
  return std::to_array<EnumName<SimStatus>>({{SimStatus::kActive, "active"},
                                             {SimStatus::kMissing, "missing"},
                                             {SimStatus::kLockedPin, "locked_pin"},
                                             {SimStatus::kLockedPuk, "locked_puk"}});
}
enum class Network { kNone, k2G, k3G, k4G, k5G };
constexpr auto enum_names(Network) {
  return std::to_array<EnumName<Network>>({{Network::kNone, "none"},
                                           {Network::k2G, "2G"},
                                           {Network::k3G, "3G"},
                                           {Network::k4G, "4G"},
                                           {Network::k5G, "5G"}});
}
enum class NetworkMode { k4G5G, k4G, k3G, k2G };
constexpr auto enum_names(NetworkMode) {
  return std::to_array<EnumName<NetworkMode>>({{NetworkMode::k4G5G, "4g_5g_preferred"},
                                               {NetworkMode::k4G, "4g_only"},
                                               {NetworkMode::k3G, "3g_only"},
                                               {NetworkMode::k2G, "2g_only"}});
}
enum class Signal { kNone, kPoor, kFair, kGood, kExcellent };
constexpr auto enum_names(Signal) {
  return std::to_array<EnumName<Signal>>({{Signal::kNone, "none"},
                                          {Signal::kPoor, "poor"},
                                          {Signal::kFair, "fair"},
                                          {Signal::kGood, "good"},
                                          {Signal::kExcellent, "excellent"}});
}
enum class Performance { kUnknown, kPoor, kFair, kGood, kExcellent };
constexpr auto enum_names(Performance) {
  return std::to_array<EnumName<Performance>>({{Performance::kUnknown, "unknown"},
                                               {Performance::kPoor, "poor"},
                                               {Performance::kFair, "fair"},
                                               {Performance::kGood, "good"},
                                               {Performance::kExcellent, "excellent"}});
}
enum class Connection { kConnected, kSearching, kNoService, kEmergencyOnly };
constexpr auto enum_names(Connection) {
  return std::to_array<EnumName<Connection>>({{Connection::kConnected, "connected"},
                                              {Connection::kSearching, "searching"},
                                              {Connection::kNoService, "no_service"},
                                              {Connection::kEmergencyOnly, "emergency_only"}});
}
enum class ApnName { kInternet, kBroken };
constexpr auto enum_names(ApnName) {
  return std::to_array<EnumName<ApnName>>(
      {{ApnName::kInternet, "internet"}, {ApnName::kBroken, "broken"}});
}

// Texts that may be null are empty then.
struct ApnSettings {
  ApnName apn_name = ApnName::kInternet;
  bool reset_at_reboot = false;
  std::string mms_apn = "mms", mmsc_url = "http://mms.carrier.com/mms/wapenc", mms_proxy;
  int64_t mms_port = 0;  // 0: none
  template <typename V>
  void visit(V& v) {
    v("apn_name", apn_name, "of mobile data");
    v("reset_at_reboot", reset_at_reboot, "the next restart brings the settings of old back");
    v("mms_apn", mms_apn, "of picture messages");
    v("mmsc_url", mmsc_url, "where picture messages are sent");
    v("mms_proxy", mms_proxy, "between");
    v("mms_port", mms_port, "of the proxy");
  }
  bool operator==(const ApnSettings&) const = default;
};

struct VpnDetails {
  std::string server_address, protocol;
  Performance server_performance = Performance::kUnknown;
  template <typename V>
  void visit(V& v) {
    v("server_address", server_address, "of the server");
    v("protocol", protocol, "spoken with it");
    v("server_performance", server_performance, "how fast it is");
  }
  bool operator==(const VpnDetails&) const = default;
};

struct AppPermissions {
  bool sms = false, storage = false, phone = false, network = false;
  template <typename V>
  void visit(V& v) {
    v("sms", sms, "messages");
    v("storage", storage, "files");
    v("phone", phone, "calls");
    v("network", network, "the internet");
  }
  bool operator==(const AppPermissions&) const = default;
};

struct PhoneApp {
  std::string app_name;
  AppPermissions permissions;
  template <typename V>
  void visit(V& v) {
    v("app_name", app_name, "what it is called");
    v("permissions", permissions, "what it may use");
  }
  bool operator==(const PhoneApp&) const = default;
};

struct Phone {
  SimStatus sim_card_status = SimStatus::kActive;
  bool sim_card_missing = false, airplane_mode = false;
  Signal network_signal_strength = Signal::kGood;
  Network network_technology_connected = Network::k5G;
  Connection network_connection_status = Connection::kConnected;
  int64_t battery_level = 80;  // per cent
  bool data_enabled = true, roaming_enabled = false;
  NetworkMode network_mode_preference = NetworkMode::k4G5G;
  ApnSettings active_apn_settings;
  bool wifi_enabled = false, wifi_connected = false;
  std::string wifi_ssid;
  Signal wifi_signal_strength = Signal::kNone;
  bool wifi_calling_enabled = false, wifi_calling_mms_over_wifi = false;
  bool data_saver_mode = false, vpn_enabled_setting = false, vpn_connected = false;
  std::optional<VpnDetails> vpn_details;
  std::vector<PhoneApp> apps = {
      {"messaging", {.sms = true, .storage = true, .phone = true}},
      {"browser", {.storage = true, .network = true}}};  // app_statuses, by name
  template <typename V>
  void visit(V& v) {
    v("sim_card_status", sim_card_status, "of the card, where there is one");
    v("sim_card_missing", sim_card_missing, "there is none");
    v("airplane_mode", airplane_mode, "no radio works");
    v("network_signal_strength", network_signal_strength, "of the network found");
    v("network_technology_connected", network_technology_connected, "of the network found");
    v("network_connection_status", network_connection_status, "to the network");
    v("battery_level", battery_level, "per cent", between(0, 100));
    v("data_enabled", data_enabled, "mobile data");
    v("roaming_enabled", roaming_enabled, "mobile data in other networks");
    v("network_mode_preference", network_mode_preference, "which networks it takes");
    v("active_apn_settings", active_apn_settings, "access point");
    v("wifi_enabled", wifi_enabled, "Wi-Fi");
    v("wifi_connected", wifi_connected, "to a Wi-Fi network");
    v("wifi_ssid", wifi_ssid, "its name");
    v("wifi_signal_strength", wifi_signal_strength, "its signal");
    v("wifi_calling_enabled", wifi_calling_enabled, "calls over Wi-Fi");
    v("wifi_calling_mms_over_wifi", wifi_calling_mms_over_wifi, "picture messages over Wi-Fi");
    v("data_saver_mode", data_saver_mode, "less data");
    v("vpn_enabled_setting", vpn_enabled_setting, "a VPN is configured");
    v("vpn_connected", vpn_connected, "to a VPN");
  }
  bool operator==(const Phone&) const = default;

  SimStatus sim() const { return sim_card_missing ? SimStatus::kMissing : sim_card_status; }
  PhoneApp* app(const std::string& name);
  const PhoneApp* app(const std::string& name) const;
};

struct PaymentRequest {
  std::string bill_id;
  double amount_due = 0;  // USD
  bool paid = false;
  template <typename V>
  void visit(V& v) {
    v("bill_id", bill_id, "which bill");
    v("amount_due", amount_due, "USD");
    v("paid", paid, "by the user");
  }
  bool operator==(const PaymentRequest&) const = default;
};

// Where the user is, of each kind of network.
struct Signals {
  Signal of_2g = Signal::kPoor, of_3g = Signal::kFair, of_4g = Signal::kGood,
         of_5g = Signal::kExcellent;
  template <typename V>
  void visit(V& v) {
    v("2G", of_2g, "signal");
    v("3G", of_3g, "signal");
    v("4G", of_4g, "signal");
    v("5G", of_5g, "signal");
  }
  bool operator==(const Signals&) const = default;
};

struct Surroundings {
  std::string name, phone_number;  // empty: nobody's yet
  bool is_abroad = false, roaming_allowed = false;
  Signals signal_strength;
  bool mobile_data_usage_exceeded = false, line_active = true;
  std::optional<PaymentRequest> payment_request;
  template <typename V>
  void visit(V& v) {
    v("name", name, "of the user");
    v("phone_number", phone_number, "of the user's line");
    v("is_abroad", is_abroad, "outside the company's network");
    v("roaming_allowed", roaming_allowed, "by the company");
    v("signal_strength", signal_strength, "where the user is");
    v("mobile_data_usage_exceeded", mobile_data_usage_exceeded, "the plan's data are used up");
    v("line_active", line_active, "the line is");
  }
  bool operator==(const Surroundings&) const = default;
};

struct PhoneWorld {
  Phone phone;
  Surroundings around;
  bool operator==(const PhoneWorld&) const = default;
};

// Sets what `data` names ({"device", "surroundings"}, as user_db.toml has them). Throws
// kInvalidArgument naming `where` and the field.
void read_phone(PhoneWorld& world, const Json& data, const std::string& where);
ApnSettings read_apn_settings(const Json& data, const std::string& where);

// Looks for a network anew: connection, technology, signal.
void search_network(PhoneWorld& world);
bool mobile_data_works(const PhoneWorld& world);
bool can_send_mms(const PhoneWorld& world);

struct Speed {
  std::optional<double> mbps;  // absent: there is no connection
  std::string word;            // "Excellent", ...; "No Connection"
};
Speed mobile_speed(const PhoneWorld& world);

std::string status_bar(const Phone& phone);  // "📶⁴ Excellent | 5G | 📱 Data Enabled | 🔋 80%"

// Switches with what they take along.
void toggle_airplane_mode(PhoneWorld& world);
void toggle_wifi(Phone& phone);
void connect_vpn(Phone& phone);     // where none is connected
bool disconnect_vpn(Phone& phone);  // false: none was connected
void restart(PhoneWorld& world);

}  // namespace dure
