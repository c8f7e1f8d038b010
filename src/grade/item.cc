// The JSON form of items, field by field.
#include "grade/item.h"

#include "base/error.h"

namespace dure {
namespace {

Json limits_to_json(const ItemLimits& limits) {
  Json out = Json::object();
  if (limits.new_tokens_max > 0) out["new_tokens_max"] = limits.new_tokens_max;
  if (limits.turns_max > 0) out["turns_max"] = limits.turns_max;
  if (limits.seconds_max > 0) out["seconds_max"] = limits.seconds_max;
  return out;
}

ItemLimits limits_from_json(const Json& json, const std::string& where) {
  ItemLimits limits;
  for (const auto& [name, value] : json.as_object(where)) {
    const std::string place = where + ": " + name;
    if (name == "new_tokens_max") {
      limits.new_tokens_max = value.as_int(place);
    } else if (name == "turns_max") {
      limits.turns_max = value.as_int(place);
    } else if (name == "seconds_max") {
      limits.seconds_max = value.as_double(place);
    } else {
      fail(ErrorCode::kInvalidArgument, "{}: there is no such limit", place);
    }
  }
  return limits;
}

// An identity or a group may be written as a number.
std::string name_text(const Json& json, const std::string& where) {
  return json.is_int() ? std::to_string(json.as_int()) : json.as_string(where);
}

}  // namespace

Json item_to_json(const Item& item) {
  Json out = Json::object();
  out["id"] = item.id;
  if (!item.group.empty()) out["group"] = item.group;
  out["messages"] = messages_to_json(item.messages);
  if (!item.tools.is_null()) out["tools"] = item.tools;
  if (!item.continuations.empty()) {
    Json list = Json::array();
    for (const std::string& text : item.continuations) list.push_back(text);
    out["continuations"] = std::move(list);
  }
  if (!item.reference.is_null()) out["reference"] = item.reference;
  if (!item.fields.is_null()) out["fields"] = item.fields;
  if (item.limits != ItemLimits{}) out["limits"] = limits_to_json(item.limits);
  return out;
}

Item item_from_json(const Json& json, std::string_view source) {
  const std::string where(source);
  Item item;
  for (const auto& [name, value] : json.as_object(where)) {
    const std::string place = where + ": " + name;
    if (name == "id") {
      item.id = name_text(value, place);
    } else if (name == "group") {
      item.group = name_text(value, place);
    } else if (name == "messages") {
      item.messages = messages_from_json(value, place);
    } else if (name == "tools") {
      item.tools = value;
    } else if (name == "continuations") {
      for (const Json& text : value.as_array(place))
        item.continuations.push_back(text.as_string(place));
    } else if (name == "reference") {
      item.reference = value;
    } else if (name == "fields") {
      item.fields = value;
    } else if (name == "limits") {
      item.limits = limits_from_json(value, place);
    } else {
      fail(ErrorCode::kInvalidArgument, "{}: an item has no such field", place);
    }
  }
  return item;
}

}  // namespace dure
