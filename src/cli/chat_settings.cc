// One table of names; the checks are those of the API's fields.
#include "cli/chat_settings.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/options.h"

namespace dure {
namespace {

constexpr double kMany = std::numeric_limits<double>::infinity();

struct RealSetting {
  const char* name;
  std::optional<double> ChatSettings::*place;
  double low, high;
  bool open_low;
};
constexpr RealSetting kReals[] = {
    {"temperature", &ChatSettings::temperature, 0, 2, false},
    {"top_p", &ChatSettings::top_p, 0, 1, true},
    {"min_p", &ChatSettings::min_p, 0, 1, false},
    {"repetition_penalty", &ChatSettings::repetition_penalty, 0, kMany, true},
    {"presence_penalty", &ChatSettings::presence_penalty, -2, 2, false},
    {"frequency_penalty", &ChatSettings::frequency_penalty, -2, 2, false},
};

struct WholeSetting {
  const char* name;
  std::optional<int64_t> ChatSettings::*place;
  int64_t low;
};
constexpr WholeSetting kWholes[] = {
    {"top_k", &ChatSettings::top_k, 0},
    {"seed", &ChatSettings::seed, 0},
    {"max_tokens", &ChatSettings::max_tokens, 1},
};

template <typename T>
std::optional<T> read_number(const std::string& text) {
  T out{};
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (ec != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return out;
}

[[noreturn]] void refuse(const std::string& name, const std::string& value,
                         const std::string& wanted) {
  fail(ErrorCode::kInvalidArgument, "/set {} {}: give {}, or \"default\"", name, value, wanted);
}

void set_real(ChatSettings& settings, const RealSetting& at, const std::string& text) {
  const auto value = read_number<double>(text);
  const bool good = value && std::isfinite(*value) && *value <= at.high &&
                    (at.open_low ? *value > at.low : *value >= at.low);
  if (!good) {
    const std::string high = std::isinf(at.high) ? "" : fmt::format(" and at most {}", at.high);
    refuse(at.name, text,
           fmt::format("a number {} {}{}", at.open_low ? "above" : "of at least", at.low, high));
  }
  settings.*at.place = value;
}

void set_whole(ChatSettings& settings, const WholeSetting& at, const std::string& text) {
  const auto value = read_number<int64_t>(text);
  if (!value || *value < at.low)
    refuse(at.name, text, fmt::format("a whole number of at least {}", at.low));
  settings.*at.place = value;
}

}  // namespace

std::vector<std::string> ChatSettings::names() {
  std::vector<std::string> out;
  for (const RealSetting& at : kReals) out.emplace_back(at.name);
  for (const WholeSetting& at : kWholes) out.emplace_back(at.name);
  return out;
}

void ChatSettings::set(const std::string& name, const std::string& value) {
  for (const RealSetting& at : kReals) {
    if (name != at.name) continue;
    if (value == "default") return void((this->*at.place).reset());
    return set_real(*this, at, value);
  }
  for (const WholeSetting& at : kWholes) {
    if (name != at.name) continue;
    if (value == "default") return void((this->*at.place).reset());
    return set_whole(*this, at, value);
  }
  std::string list;
  for (const std::string& known : names()) list += (list.empty() ? "" : ", ") + known;
  const std::string near = nearest_name(name, names());
  fail(ErrorCode::kInvalidArgument, "there is no setting {}{}; there are {}", name,
       near.empty() ? "" : fmt::format(", did you mean {}?", near), list);
}

std::string ChatSettings::text() const {
  std::string out;
  const auto add = [&](const char* name, const auto& value) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name,
                       value ? fmt::format("{}", *value) : "default");
  };
  for (const RealSetting& at : kReals) add(at.name, this->*at.place);
  for (const WholeSetting& at : kWholes) add(at.name, this->*at.place);
  return out;
}

SamplingOptions ChatSettings::over(const SamplingOptions& model) const {
  SamplingOptions o = model;
  o.temperature = temperature.value_or(o.temperature);
  o.top_p = top_p.value_or(o.top_p);
  o.top_k = top_k.value_or(o.top_k);
  o.min_p = min_p.value_or(o.min_p);
  o.repetition_penalty = repetition_penalty.value_or(o.repetition_penalty);
  o.presence_penalty = presence_penalty.value_or(o.presence_penalty);
  o.frequency_penalty = frequency_penalty.value_or(o.frequency_penalty);
  if (seed) o.seed = static_cast<uint64_t>(*seed);
  return o;
}

}  // namespace dure
