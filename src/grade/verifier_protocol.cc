// Requests are written, replies are read with everything checked.
#include "grade/verifier_protocol.h"

#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/json_keys.h"

namespace dure {
namespace {

VerifierReply failed(VerifierFailure failure, std::string what) {
  return {.failure = failure, .what = std::move(what)};
}

constexpr size_t kShown = 80;

std::string beginning(std::string_view line) {
  return json_quote(line.substr(0, kShown)) + (line.size() > kShown ? "..." : "");
}

// A value as it was said: "the text \"1.0\"", "null", "1e+300".
std::string shown(const Json& value) {
  return (value.is_string() ? "the text " : "") +
         (value.dump().size() > kShown ? value.dump().substr(0, kShown) + "..." : value.dump());
}

// At a border of characters.
std::string cut_text(const std::string& text) {
  if (text.size() <= kVerifierTextBytesMax) return text;
  size_t end = kVerifierTextBytesMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

// As Python writes numbers that JSON does not have.
bool holds_no_number(std::string_view line) {
  return line.starts_with('{') && (line.find("NaN") != std::string_view::npos ||
                                   line.find("Infinity") != std::string_view::npos);
}

// -1: no number.
int64_t number_of(const Json& id) {
  if (id.is_int()) return id.as_int();
  if (!id.is_string()) return -1;
  const std::string& text = id.as_string();
  int64_t out = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() ? out : -1;
}

VerifierReply read_object(const Json& reply) {
  const Json* reward = reply.find("reward");
  if (reward == nullptr) return failed(VerifierFailure::kReward, "a reply without \"reward\"");
  const bool number = reward->is_number() || reward->is_bool();
  const double value = reward->is_bool()     ? (reward->as_bool() ? 1 : 0)
                       : reward->is_number() ? reward->as_double()
                                             : 0;
  if (!number || !std::isfinite(value) || std::abs(value) > 1e6) {
    return failed(VerifierFailure::kReward,
                  "\"reward\" is " + shown(*reward) +
                      ": it should be a number from -1e6 to 1e6, or true or false");
  }
  VerifierReply out{.reward = value};
  if (const Json* parts = reply.find("parts"); parts != nullptr && !parts->is_null()) {
    if (parts->kind() != Json::Kind::kObject)
      return failed(VerifierFailure::kReward, "\"parts\" is no object of numbers");
    for (const auto& [name, part] : parts->as_object()) {
      if (!part.is_number() || !std::isfinite(part.as_double()))
        return failed(VerifierFailure::kReward, "part " + beginning(name) + " is no finite number");
    }
    out.parts = *parts;
  }
  if (const Json* text = reply.find("text"); text != nullptr && !text->is_null())
    out.text = cut_text(text->is_string() ? text->as_string() : text->dump());
  return out;
}

}  // namespace

const char* verifier_failure_name(VerifierFailure failure) {
  switch (failure) {
    case VerifierFailure::kNone:
      return "";
    case VerifierFailure::kStart:
      return "start";
    case VerifierFailure::kDied:
      return "died";
    case VerifierFailure::kTimeout:
      return "timeout";
    case VerifierFailure::kNotJson:
      return "not_json";
    case VerifierFailure::kWrongId:
      return "wrong_id";
    case VerifierFailure::kReward:
      return "bad_reward";
    case VerifierFailure::kTooLong:
      return "too_long";
    case VerifierFailure::kServer:
      return "server";
    case VerifierFailure::kReply:
      return "bad_reply";
    case VerifierFailure::kDiffers:
      return "not_repeatable";
    case VerifierFailure::kInterrupted:
      return "interrupted";
  }
  return "";
}

Json answer_json(const Answer& answer) {
  Json out = Json::object();
  out["reasoning"] = answer.reasoning;
  out["content"] = answer.content;
  out["tool_calls"] = plain_calls_json(answer.tool_calls);
  out["finished"] = answer.finished;
  return out;
}

std::string verifier_request(const std::string& id, const Item& item, const Answer& answer) {
  Json about = Json::object();
  about["id"] = item.id;
  about["group"] = item.group;
  about["tools"] = item.tools;
  about["reference"] = item.reference;
  about["fields"] = item.fields;
  Json out = Json::object();
  out["id"] = id;
  out["messages"] = messages_to_json(item.messages);
  out["answer"] = answer_json(answer);
  out["item"] = std::move(about);
  return out.dump();
}

ReplyHead read_reply_head(std::string_view line, int64_t asked) {
  const auto failed = [](VerifierFailure failure, std::string what) {
    return ReplyHead{.failure = failure, .what = std::move(what)};
  };
  ReplyHead out;
  try {
    out.reply = parse_json(line, "reply");
  } catch (const Error&) {
    if (holds_no_number(line))
      return failed(VerifierFailure::kReward, "no finite number: " + beginning(line));
    return failed(VerifierFailure::kNotJson, "a line that is no JSON: " + beginning(line));
  }
  if (!out.reply.is_object())
    return failed(VerifierFailure::kNotJson, "a line that is no JSON object: " + beginning(line));
  try {
    parse_json_keys_once(line, "reply");
  } catch (const Error& error) {  // Which of two is meant nobody knows.
    const bool of_reward = std::string_view(error.what()).find("'reward'") != std::string::npos;
    return failed(of_reward ? VerifierFailure::kReward : VerifierFailure::kNotJson,
                  std::string(error.what()) + ": " + beginning(line));
  }
  const Json* id = out.reply.find("id");
  const int64_t number = id != nullptr ? number_of(*id) : -1;
  if (number >= 1 && number < asked) return {.stale = true};
  if (number != asked) {
    return failed(VerifierFailure::kWrongId, id == nullptr
                                                 ? "a reply without \"id\""
                                                 : "a reply to id " + beginning(id->dump()));
  }
  return out;
}

VerifierReply read_verifier_reply(std::string_view line, int64_t asked) {
  const ReplyHead head = read_reply_head(line, asked);
  if (head.stale) return {.stale = true};
  if (head.failure != VerifierFailure::kNone) return failed(head.failure, head.what);
  return read_object(head.reply);
}

}  // namespace dure
