// One search decides connection, technology and signal; data, messages and speed follow from it.
#include "grade/tau2/phone.h"

#include <fmt/format.h>

#include <cstdlib>

namespace dure {
namespace {

// Null stands for a text that is not set; of other fields it is left out.
Json without_nulls(const Json& data, const std::string& where) {
  Json out = Json::object();
  for (const auto& [name, value] : data.as_object(where)) {
    const bool text = name == "mmsc_url" || name == "mms_apn" || name == "mms_proxy" ||
                      name == "wifi_ssid" || name == "name" || name == "phone_number";
    if (value.is_object()) {
      out[name] = without_nulls(value, where + ": " + name);
    } else if (!value.is_null() || text) {
      out[name] = value.is_null() ? Json("") : value;
    }
  }
  return out;
}

// The member, taken out; null where there is none.
Json taken(Json& data, std::string_view name) {
  Json::Object& members = data.as_object();
  for (size_t i = 0; i < members.size(); ++i) {
    if (members[i].first != name) continue;
    Json value = std::move(members[i].second);
    members.erase(members.begin() + static_cast<std::ptrdiff_t>(i));
    return value;
  }
  return {};
}

template <typename T>
void read_optional(std::optional<T>& out, const Json& value, const std::string& where) {
  if (value.is_null()) return;
  T read = out.value_or(T());
  from_json(read, value, where);
  out = read;
}

void read_device(Phone& phone, const Json& data, const std::string& where) {
  Json rest = without_nulls(data, where);
  const Json apps = taken(rest, "app_statuses");
  if (data.contains("vpn_details")) phone.vpn_details.reset();
  read_optional(phone.vpn_details, taken(rest, "vpn_details"), where + ": vpn_details");
  from_json(phone, rest, where);
  if (apps.is_null()) return;
  for (const auto& [name, value] : apps.as_object(where + ": app_statuses")) {
    PhoneApp* app = phone.app(name);
    if (app == nullptr) app = &phone.apps.emplace_back(PhoneApp{.app_name = name});
    from_json(*app, value, where + ": app_statuses: " + name);
    app->app_name = name;
  }
}

void read_surroundings(Surroundings& around, const Json& data, const std::string& where) {
  Json rest = without_nulls(data, where);
  if (data.contains("payment_request")) around.payment_request.reset();
  read_optional(around.payment_request, taken(rest, "payment_request"),
                where + ": payment_request");
  if (rest.contains("signal_strength"))
    around.signal_strength = {Signal::kNone, Signal::kNone, Signal::kNone, Signal::kNone};
  from_json(around, rest, where);
}

Signal signal_of(const Signals& signals, Network network) {
  switch (network) {
    case Network::k2G:
      return signals.of_2g;
    case Network::k3G:
      return signals.of_3g;
    case Network::k4G:
      return signals.of_4g;
    case Network::k5G:
      return signals.of_5g;
    default:
      return Signal::kNone;
  }
}

Network network_wanted(NetworkMode mode, const Signals& signals) {
  switch (mode) {
    case NetworkMode::k2G:
      return Network::k2G;
    case NetworkMode::k3G:
      return Network::k3G;
    case NetworkMode::k4G:
      return Network::k4G;
    default:
      return signals.of_5g == Signal::kNone ? Network::k4G : Network::k5G;
  }
}

void leave_wifi(Phone& phone) {
  phone.wifi_connected = false;
  phone.wifi_ssid.clear();
  phone.wifi_signal_strength = Signal::kNone;
}

// Mbit/s: the middle of what the technology gives.
double middle_speed(Network network) {
  switch (network) {
    case Network::k2G:
      return (0.1 + 0.4) / 2;
    case Network::k3G:
      return (1.0 + 5.0) / 2;
    case Network::k4G:
      return (10.0 + 100.0) / 2;
    case Network::k5G:
      return (50.0 + 500.0) / 2;
    default:
      return 0;
  }
}

double signal_share(Signal signal) {
  constexpr std::array kShares = {0.0, 0.2, 0.5, 0.8, 1.0};
  return kShares[static_cast<size_t>(signal)];
}

const char* speed_word(double mbps) {
  if (mbps < 1) return "Very Poor";
  if (mbps < 5) return "Poor";
  if (mbps < 25) return "Fair";
  return mbps < 100 ? "Good" : "Excellent";
}

const char* signal_sign(Signal signal) {
  constexpr std::array kSigns = {"📵 No Signal", "📶¹ Poor", "📶² Fair", "📶³ Good", "📶⁴ Excellent"};
  return kSigns[static_cast<size_t>(signal)];
}

}  // namespace

const PhoneApp* Phone::app(const std::string& name) const {
  for (const PhoneApp& one : apps)
    if (one.app_name == name) return &one;
  return nullptr;
}
PhoneApp* Phone::app(const std::string& name) {
  return const_cast<PhoneApp*>(std::as_const(*this).app(name));
}

void read_phone(PhoneWorld& world, const Json& data, const std::string& where) {
  for (const auto& [name, value] : data.as_object(where)) {
    if (name == "device") {
      read_device(world.phone, value, where + ": device");
    } else if (name == "surroundings") {
      read_surroundings(world.around, value, where + ": surroundings");
    } else {
      fail(ErrorCode::kInvalidArgument, "{}: there is no '{}' (device, surroundings)", where, name);
    }
  }
}

ApnSettings read_apn_settings(const Json& data, const std::string& where) {
  ApnSettings out;
  from_json(out, without_nulls(data, where), where);
  return out;
}

void search_network(PhoneWorld& world) {
  Phone& phone = world.phone;
  const bool found = phone.sim() == SimStatus::kActive && !phone.airplane_mode &&
                     phone.active_apn_settings.apn_name != ApnName::kBroken &&
                     world.around.line_active;
  const Signals& signals = world.around.signal_strength;
  phone.network_connection_status = found ? Connection::kConnected : Connection::kNoService;
  phone.network_technology_connected =
      found ? network_wanted(phone.network_mode_preference, signals) : Network::kNone;
  phone.network_signal_strength = signal_of(signals, phone.network_technology_connected);
}

bool mobile_data_works(const PhoneWorld& world) {
  const Phone& phone = world.phone;
  const Surroundings& around = world.around;
  const bool reached = !phone.airplane_mode && phone.network_signal_strength != Signal::kNone &&
                       phone.network_connection_status != Connection::kNoService;
  const bool roams = !around.is_abroad || (phone.roaming_enabled && around.roaming_allowed);
  return reached && roams && phone.data_enabled && !around.mobile_data_usage_exceeded;
}

bool can_send_mms(const PhoneWorld& world) {
  const Phone& phone = world.phone;
  if (!mobile_data_works(world) || phone.network_technology_connected == Network::k2G) return false;
  // The company carries no picture messages over Wi-Fi.
  if (phone.wifi_calling_enabled && phone.wifi_calling_mms_over_wifi) return false;
  const PhoneApp* app = phone.app("messaging");
  return !phone.active_apn_settings.mmsc_url.empty() && app != nullptr &&
         app->permissions.storage && app->permissions.sms;
}

Speed mobile_speed(const PhoneWorld& world) {
  if (!mobile_data_works(world)) return {std::nullopt, "No Connection"};
  const Phone& phone = world.phone;
  const bool slow_vpn = phone.vpn_connected && phone.vpn_details &&
                        phone.vpn_details->server_performance == Performance::kPoor;
  double share = slow_vpn ? 0.1 : 1.0;
  if (phone.data_saver_mode) share *= 0.2;
  const double exact = middle_speed(phone.network_technology_connected) *
                       signal_share(phone.network_signal_strength) * share;
  const double mbps = std::strtod(fmt::format("{:.2f}", exact).c_str(), nullptr);
  return {mbps, speed_word(mbps)};
}

std::string status_bar(const Phone& phone) {
  std::vector<std::string> signs;
  const bool network = phone.network_technology_connected != Network::kNone;
  if (phone.airplane_mode) {
    signs.emplace_back("✈️ Airplane Mode");
  } else {
    signs.emplace_back(signal_sign(phone.network_signal_strength));
    if (network) signs.emplace_back(name_of(phone.network_technology_connected));
    const bool data = phone.data_enabled && network;
    signs.emplace_back(data ? "📱 Data Enabled" : "📵 Data Disabled");
    if (data && phone.data_saver_mode) signs.emplace_back("🔽 Data Saver");
  }
  if (phone.wifi_enabled && phone.wifi_connected)
    signs.push_back(phone.wifi_ssid.empty() ? "📡 Enabled" : "📡 Connected to " + phone.wifi_ssid);
  if (phone.vpn_connected) signs.emplace_back("🔒 VPN Connected");
  signs.push_back(fmt::format("🔋 {}%", phone.battery_level));
  return fmt::format("{}", fmt::join(signs, " | "));
}

void toggle_airplane_mode(PhoneWorld& world) {
  Phone& phone = world.phone;
  phone.airplane_mode = !phone.airplane_mode;
  if (phone.airplane_mode || phone.wifi_enabled) leave_wifi(phone);
  if (phone.airplane_mode) disconnect_vpn(phone);
  search_network(world);
}

void toggle_wifi(Phone& phone) {
  phone.wifi_enabled = !phone.wifi_enabled;
  if (!phone.wifi_enabled) leave_wifi(phone);
}

void connect_vpn(Phone& phone) {
  if (phone.vpn_connected) return;
  phone.vpn_connected = true;
  phone.vpn_details = VpnDetails{"192.168.1.1", "OpenVPN", Performance::kExcellent};
}

bool disconnect_vpn(Phone& phone) {
  if (!phone.vpn_connected) return false;
  phone.vpn_connected = false;
  phone.vpn_details.reset();
  return true;
}

void restart(PhoneWorld& world) {
  if (world.phone.active_apn_settings.reset_at_reboot) world.phone.active_apn_settings = {};
  search_network(world);
}

}  // namespace dure
