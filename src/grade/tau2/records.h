// grade/tau2/records.h: the data of a company as lists of records, and the form of a record.
//
// A form lists the fields of a record in the order in which they are shown; shaped() puts what a
// file holds into that form: what is left out gets its value, what is not known or of another kind
// is refused. Not here: which records a domain has.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace dure {

enum class FieldKind { kText, kNumber, kFlag, kDate, kTime, kChoice, kTexts, kRecord, kRecords };

struct RecordField;
using RecordForm = std::vector<RecordField>;

struct RecordField {
  std::string name;
  FieldKind kind = FieldKind::kText;
  std::vector<std::string> choices;  // of kChoice
  RecordForm form;                   // of kRecord, kRecords
  bool required = true;
  Json otherwise;  // where it is not required
};

RecordField text_field(std::string name);
RecordField number_field(std::string name);  // shown as a float
RecordField flag_field(std::string name);
RecordField date_field(std::string name);  // "2025-01-20"
RecordField time_field(std::string name);  // "2025-01-20T14:30:00"; shown with a space for the T
RecordField choice_field(std::string name, std::vector<std::string> choices);
RecordField texts_field(std::string name);
RecordField record_field(std::string name, RecordForm form);
RecordField records_field(std::string name, RecordForm form);  // empty where left out
// May be left out; null may stand there where `otherwise` is null.
RecordField or_else(RecordField field, Json otherwise);
RecordField or_null(RecordField field);

// Throws kInvalidArgument naming `where`, the place and what should stand there.
Json shaped(const Json& given, const RecordForm& form, const std::string& where);

}  // namespace dure
