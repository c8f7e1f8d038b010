// data/record_fields.h: the fields of a record that somebody wrote, where null is absent; internal
// to data/.
//
// Not here: what fields a record has (chat_record.h, preference_record.h), who says which file and
// line is meant (their callers).
#pragma once

#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace dure {

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  fail(ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

// Null: absent, or null, or `object` is none.
inline const Json* present(const Json& object, std::string_view key) {
  const Json* value = object.find(key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

inline const Json* first_present(const Json& object, std::initializer_list<const char*> keys) {
  for (const char* key : keys) {
    if (const Json* value = present(object, key)) return value;
  }
  return nullptr;
}

}  // namespace dure
