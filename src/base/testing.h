// base/testing.h: what tests of every folder share. Tests only.
#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace dure {

// The message of the Error that `act` throws, and its code; "(no error)" where it throws none.
inline std::string message_of(const std::function<void()>& act, ErrorCode* code = nullptr) {
  try {
    act();
  } catch (const Error& error) {
    if (code != nullptr) *code = error.code();
    return error.what();
  }
  return "(no error)";
}

}  // namespace dure
