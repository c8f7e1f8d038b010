// server/api_call.h: a route of the API and one request on its way; internal to api.cc and
// api_answers.cc.
#pragma once

#include <chrono>

#include "server/api.h"
#include "server/api_error.h"

namespace dure {

constexpr int64_t kLoadingRetrySeconds = 5;

struct Api::Route {
  const char* path;  // without /v1; with a trailing '/': everything below it
  const char* method;
  HttpResponse (Api::*answer)(const Call&) const;  // null: the route generates
  enum Access { kOpen, kKey } access;
  enum Needs { kNothing, kModel } needs;
};

// One request on its way: what every step of its answer needs.
struct Api::Call {
  std::shared_ptr<Exchange> exchange;
  const Route* route;
  std::shared_ptr<const Ready> ready;  // null while the model is read
  std::chrono::steady_clock::time_point arrived;
  ApiStyle style;
  std::string path;  // plain

  const HttpRequest& request() const { return exchange->request(); }
  const ServedModel& model() const { return *ready->model; }
};

}  // namespace dure
