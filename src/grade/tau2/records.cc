// Field by field, in the form's order.
#include "grade/tau2/records.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace dure {
namespace {

RecordField field(std::string name, FieldKind kind) {
  return {.name = std::move(name), .kind = kind, .choices = {}, .form = {}, .otherwise = {}};
}

bool is_date(std::string_view text) {
  constexpr std::string_view kForm = "dddd-dd-dd";
  if (text.size() != kForm.size()) return false;
  for (size_t i = 0; i < text.size(); ++i)
    if (kForm[i] == 'd' ? text[i] < '0' || text[i] > '9' : text[i] != kForm[i]) return false;
  return true;
}

std::string date(const Json& value, const std::string& where) {
  const std::string& text = value.as_string(where);
  if (!is_date(text))
    fail(ErrorCode::kInvalidArgument, "{}: '{}' is no date (2025-01-31)", where, text);
  return text;
}

std::string time(const Json& value, const std::string& where) {
  std::string text = value.as_string(where);
  const bool parted = text.size() >= 19 && (text[10] == 'T' || text[10] == ' ');
  if (!is_date(std::string_view(text).substr(0, 10)) || (text.size() > 10 && !parted))
    fail(ErrorCode::kInvalidArgument, "{}: '{}' is no time (2025-01-31T12:00:00)", where, text);
  if (parted) text[10] = ' ';
  return text;
}

std::string choice(const Json& value, const RecordField& field, const std::string& where) {
  const std::string& text = value.as_string(where);
  if (std::find(field.choices.begin(), field.choices.end(), text) != field.choices.end())
    return text;
  std::string all;
  for (const std::string& one : field.choices) all += (all.empty() ? "" : ", ") + one;
  fail(ErrorCode::kInvalidArgument, "{}: '{}' is none of: {}", where, text, all);
}

Json texts(const Json& value, const std::string& where) {
  for (const Json& one : value.as_array(where)) one.as_string(where);
  return value;
}

Json records(const Json& value, const RecordForm& form, const std::string& where) {
  Json out = Json::array();
  for (const Json& one : value.as_array(where))
    out.push_back(shaped(one, form, where + " " + std::to_string(out.size() + 1)));
  return out;
}

Json shaped_value(const Json& value, const RecordField& field, const std::string& where) {
  switch (field.kind) {
    case FieldKind::kText:
      return Json(value.as_string(where));
    case FieldKind::kNumber:
      return Json(value.as_double(where));
    case FieldKind::kFlag:
      return Json(value.as_bool(where));
    case FieldKind::kDate:
      return Json(date(value, where));
    case FieldKind::kTime:
      return Json(time(value, where));
    case FieldKind::kChoice:
      return Json(choice(value, field, where));
    case FieldKind::kTexts:
      return texts(value, where);
    case FieldKind::kRecord:
      return shaped(value, field.form, where);
    case FieldKind::kRecords:
      return records(value, field.form, where);
  }
  return {};
}

}  // namespace

RecordField text_field(std::string name) { return field(std::move(name), FieldKind::kText); }
RecordField number_field(std::string name) { return field(std::move(name), FieldKind::kNumber); }
RecordField flag_field(std::string name) { return field(std::move(name), FieldKind::kFlag); }
RecordField date_field(std::string name) { return field(std::move(name), FieldKind::kDate); }
RecordField time_field(std::string name) { return field(std::move(name), FieldKind::kTime); }
RecordField choice_field(std::string name, std::vector<std::string> choices) {
  RecordField out = field(std::move(name), FieldKind::kChoice);
  out.choices = std::move(choices);
  return out;
}
RecordField texts_field(std::string name) { return field(std::move(name), FieldKind::kTexts); }
RecordField record_field(std::string name, RecordForm form) {
  RecordField out = field(std::move(name), FieldKind::kRecord);
  out.form = std::move(form);
  return out;
}
RecordField records_field(std::string name, RecordForm form) {
  RecordField out = field(std::move(name), FieldKind::kRecords);
  out.form = std::move(form);
  return or_else(std::move(out), Json::array());
}
RecordField or_else(RecordField field, Json otherwise) {
  field.required = false;
  field.otherwise = std::move(otherwise);
  return field;
}
RecordField or_null(RecordField field) { return or_else(std::move(field), Json()); }

Json shaped(const Json& given, const RecordForm& form, const std::string& where) {
  for (const auto& [name, value] : given.as_object(where)) {
    const auto known = [&](const RecordField& field) { return field.name == name; };
    if (std::none_of(form.begin(), form.end(), known))
      fail(ErrorCode::kInvalidArgument, "{}: there is no field '{}'", where, name);
  }
  Json out = Json::object();
  for (const RecordField& field : form) {
    const Json* value = given.find(field.name);
    const bool null = value != nullptr && value->is_null();
    if (value == nullptr && field.required)
      fail(ErrorCode::kInvalidArgument, "{}: it has no field '{}'", where, field.name);
    const bool left_out =
        value == nullptr || (null && !field.required && field.otherwise.is_null());
    out[field.name] =
        left_out ? field.otherwise : shaped_value(*value, field, where + ": " + field.name);
  }
  return out;
}

}  // namespace dure
