// The parts of OpenAI's API that no endpoint has for itself.
#include "client/openai_api.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "base/utf8.h"

namespace dure {

std::string api_key_for(const WebAddress& address) {
  for (const char* name : {"DURE_API_KEY", "OPENAI_API_KEY"}) {
    const char* key = std::getenv(name);
    const bool may = address.tls || std::string_view(name) == "DURE_API_KEY";
    if (may && key != nullptr && *key != '\0') return key;
  }
  return "";
}

WebAddress api_root(const std::string& text) {
  constexpr std::string_view kEndpoint = "/chat/completions";
  WebAddress out = parse_web_address(text);
  if (out.path.ends_with(kEndpoint)) out.path.resize(out.path.size() - kEndpoint.size());
  if (out.path.empty()) out.path = "/v1";
  return out;
}

const Json* json_member(const Json* object, const char* name) {
  return object != nullptr && object->is_object() ? object->find(name) : nullptr;
}

std::string json_text(const Json* object, const char* name) {
  const Json* value = json_member(object, name);
  return value != nullptr && value->is_string() ? value->as_string() : "";
}

int64_t json_count(const Json* object, const char* name) {
  const Json* value = json_member(object, name);
  return value != nullptr && value->is_int() ? value->as_int() : 0;
}

namespace {

// The value of "\\uXXXX" at `i`; -1 where it is none.
int escaped_unit(std::string_view text, size_t i) {
  if (i + 6 > text.size() || text[i] != '\\' || text[i + 1] != 'u') return -1;
  int value = 0;
  const auto [end, ec] = std::from_chars(text.data() + i + 2, text.data() + i + 6, value, 16);
  return ec == std::errc() && end == text.data() + i + 6 ? value : -1;
}

// How many bytes at `i` stand as they are; 0, and `bad` of them, where they do not.
size_t good_bytes(std::string_view text, size_t i, size_t& bad) {
  if (text[i] != '\\') {
    const int length = utf8_length(text, i);
    bad = length > 0 ? 0 : static_cast<size_t>(std::max(1, -length));
    return length > 0 ? static_cast<size_t>(length) : 0;
  }
  const int unit = escaped_unit(text, i), next = escaped_unit(text, i + 6);
  const auto within = [](int value, int low) { return value >= low && value < low + 0x400; };
  if (within(unit, 0xd800) && within(next, 0xdc00)) return 12;
  bad = 6;
  if (within(unit, 0xd800) || within(unit, 0xdc00)) return 0;
  return std::min<size_t>(2, text.size() - i);
}

std::string mended(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    size_t bad = 0;
    const size_t good = good_bytes(text, i, bad);
    out += good > 0 ? text.substr(i, good) : "\uFFFD";
    i += good > 0 ? good : bad;
  }
  return out;
}

}  // namespace

Json parse_server_answer(const std::string& body) {
  return parse_json(mended(body), "the server's answer");
}

std::string api_error_text(const std::string& body) {
  try {
    const Json json = parse_json(body, "answer");
    const Json* error = json_member(&json, "error");
    if (error != nullptr && error->is_string()) return error->as_string();
    std::string said = json_text(error, "message");
    if (said.empty()) said = json_text(&json, "message");
    if (!said.empty()) return said;
  } catch (const Error&) {
  }
  std::string line = body.substr(0, body.find('\n'));
  if (line.size() > 200) line = line.substr(0, utf8_start(line, 200)) + "...";
  return line.empty() ? "it says nothing more" : line;
}

WebRequest api_request(const char* method, const char* path, std::string body,
                       const std::string& key) {
  WebRequest out{.method = method, .path = path, .body = std::move(body)};
  out.headers = {{"Accept", "application/json, text/event-stream"}, {"User-Agent", "dure"}};
  if (!out.body.empty()) out.headers.emplace_back("Content-Type", "application/json");
  if (!key.empty()) out.headers.emplace_back("Authorization", "Bearer " + key);
  return out;
}

void require_good(const WebAnswer& answer, const WebAddress& address, bool keyed) {
  if (answer.status >= 200 && answer.status < 300) return;
  const std::string at = address.text();
  if (answer.status == 401) {
    fail(ErrorCode::kInvalidArgument, "{} wants a key{}: set DURE_API_KEY ({})", at,
         keyed ? ", and the one given is none of its" : "", api_error_text(answer.body));
  }
  if (answer.status >= 300 && answer.status < 400)
    fail(ErrorCode::kInvalidArgument, "{} points elsewhere ({}); give the address it points to", at,
         answer.status);
  fail(ErrorCode::kInvalidArgument, "{} refuses ({}): {}", at, answer.status,
       api_error_text(answer.body));
}

std::string first_model(const HttpClient& client, const std::string& key) {
  const WebAnswer answer = client.ask(api_request("GET", "/models", "", key));
  const std::string at = client.address().text();
  if (answer.status == 404 || answer.status == 405)
    fail(ErrorCode::kInvalidArgument,
         "{} does not say which models it has ({}); is the address right? --model NAME asks for "
         "one unseen",
         at, answer.status);
  require_good(answer, client.address(), !key.empty());
  try {
    const Json json = parse_json(answer.body, "models");
    const Json* list = json_member(&json, "data");
    if (list != nullptr && list->is_array() && list->size() > 0) {
      const std::string name = json_text(&list->at(size_t{0}), "id");
      if (!name.empty()) return name;
    }
  } catch (const Error&) {
  }
  fail(ErrorCode::kInvalidArgument,
       "{} answers, but not as OpenAI's API does; is the address right? --model NAME asks for a "
       "model unseen",
       at);
}

}  // namespace dure
