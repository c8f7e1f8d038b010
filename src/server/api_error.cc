// Types by status: the set that OpenAI's SDKs and Anthropic's know.
#include "server/api_error.h"

namespace dure {
namespace {

const char* openai_type(const ApiError& error) {
  if (error.prompt_tokens) return "exceed_context_size_error";
  switch (error.status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 501:
      return "not_supported_error";
    case 503:
      return "unavailable_error";
    default:
      return error.status >= 500 ? "server_error" : "invalid_request_error";
  }
}

const char* anthropic_type(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 413:
      return "request_too_large";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return status >= 500 ? "api_error" : "invalid_request_error";
  }
}

// What a client sent may come back in a message, and is not to fill its screen.
std::string shortened(const std::string& message) {
  constexpr size_t kMessageBytesMax = 1000;
  if (message.size() <= kMessageBytesMax) return message;
  size_t end = kMessageBytesMax;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return message.substr(0, end) + "...";
}

}  // namespace

std::string ApiError::body(ApiStyle style, const std::string& request_id) const {
  Json out = Json::object();
  Json error = Json::object();
  if (style == ApiStyle::kAnthropic) {
    out["type"] = "error";
    error["type"] = anthropic_type(status);
    error["message"] = shortened(message);
    out["error"] = std::move(error);
    out["request_id"] = request_id;
    return out.dump();
  }
  error["message"] = shortened(message);
  error["type"] = openai_type(*this);
  error["param"] = param.empty() ? Json() : Json(param);
  error["code"] = code.empty() ? Json() : Json(code);
  if (prompt_tokens) error["n_prompt_tokens"] = *prompt_tokens;
  if (context_tokens) error["n_ctx"] = *context_tokens;
  out["error"] = std::move(error);
  return out.dump();
}

HttpResponse ApiError::response(ApiStyle style, const std::string& request_id) const {
  HttpResponse out{.status = status,
                   .headers = {{"Content-Type", "application/json"}},
                   .body = body(style, request_id)};
  if (retry_after_s) out.headers.emplace_back("Retry-After", std::to_string(*retry_after_s));
  if (!allow.empty()) out.headers.emplace_back("Allow", allow);
  if (status == 401) out.headers.emplace_back("WWW-Authenticate", "Bearer");
  // Clients try again after a 500 by themselves; what failed once here would fail again.
  if (status == 500 || status == 501) out.headers.emplace_back("x-should-retry", "false");
  return out;
}

ApiError api_fault(int status, std::string code, std::string message) {
  ApiError out;
  out.status = status;
  out.code = std::move(code);
  out.message = std::move(message);
  return out;
}

ApiError bad_field(std::string param, std::string message) {
  ApiError out;
  out.message = std::move(message);
  out.param = std::move(param);
  return out;
}

ApiError unsupported(std::string param, std::string message) {
  ApiError out = bad_field(std::move(param), std::move(message));
  out.code = "unsupported_parameter";
  return out;
}

ApiError too_long(int64_t prompt_tokens, int64_t context_tokens, const std::string& param) {
  ApiError out = bad_field(
      param,
      fmt::format("This model's maximum context length is {} tokens. However, your prompt has {} "
                  "tokens. Please reduce the length of the messages.",
                  context_tokens, prompt_tokens));
  out.code = "context_length_exceeded";
  out.prompt_tokens = prompt_tokens;
  out.context_tokens = context_tokens;
  return out;
}

ApiError api_error_of(const Error& error) {
  ApiError out;
  out.message = error.what();
  const bool of_the_client =
      error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kUnsupported;
  if (error.code() == ErrorCode::kUnavailable) {  // A rank is lost: another server may answer.
    out.status = 503;
    out.code = "unavailable";
  } else if (!of_the_client) {
    out.status = 500;
    out.code = "server_error";
  }
  return out;
}

}  // namespace dure
