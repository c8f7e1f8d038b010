// server/api_error.h: what is wrong with a request, and how each API says so.
//
// Owns the kinds of failure a client can meet: status, type, code and the field that is to blame.
// Not here: where they are found (api_fields.h, chat_request.h, ...), transport failures
// (http_server.h).
#pragma once

#include <exception>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "server/http.h"

namespace dure {

enum class ApiStyle { kOpenAi, kAnthropic };

class ApiError : public std::exception {
 public:
  int status = 400;
  std::string message;
  std::string param;                     // dotted path of the field to blame; empty: none
  std::string code;                      // such as "model_not_found"; empty: none
  std::optional<int64_t> prompt_tokens;  // of a prompt that is too long
  std::optional<int64_t> context_tokens;
  std::optional<int64_t> retry_after_s;
  std::string allow;  // of 405

  const char* what() const noexcept override { return message.c_str(); }

  // {"error": {...}}, or Anthropic's shape.
  std::string body(ApiStyle style, const std::string& request_id) const;
  HttpResponse response(ApiStyle style, const std::string& request_id) const;
};

[[nodiscard]] ApiError api_fault(int status, std::string code, std::string message);
// A wrong value: 400 naming the field.
[[nodiscard]] ApiError bad_field(std::string param, std::string message);
// Well-formed, and nothing that is done here (yet): 400 unsupported_parameter.
[[nodiscard]] ApiError unsupported(std::string param, std::string message);
// `param`: the field that the prompt came from.
[[nodiscard]] ApiError too_long(int64_t prompt_tokens, int64_t context_tokens,
                                const std::string& param);
// An error of the program's, as a request's answer: the user's input 400, the rest 500.
[[nodiscard]] ApiError api_error_of(const Error& error);

}  // namespace dure
