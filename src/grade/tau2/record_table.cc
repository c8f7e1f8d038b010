// A row is cloned when it is edited while others hold it too.
#include "grade/tau2/record_table.h"

#include "grade/python_value.h"
#include "grade/tau2/function_table.h"

namespace dure {

RecordTable::RecordTable(const Json& by_id, const std::string& where) {
  for (const auto& [id, record] : by_id.as_object(where)) {
    record.as_object(where + ": " + id);
    rows_.emplace_back(id, std::make_shared<Json>(record));
  }
}

const Json* RecordTable::find(const std::string& id) const {
  for (const auto& [known, record] : rows_)
    if (known == id) return record.get();
  return nullptr;
}

Json* RecordTable::edit(const std::string& id) {
  for (auto& [known, record] : rows_) {
    if (known != id) continue;
    if (record.use_count() > 1) record = std::make_shared<Json>(*record);
    return record.get();
  }
  return nullptr;
}

void RecordTable::put(const std::string& id, Json record) {
  auto row = std::make_shared<Json>(std::move(record));
  for (auto& [known, old] : rows_) {
    if (known != id) continue;
    old = std::move(row);
    return;
  }
  rows_.emplace_back(id, std::move(row));
}

void RecordTable::lay_over_rows(const Json& by_id) {
  for (const auto& [id, record] : by_id.as_object("records")) {
    if (Json* old = edit(id)) {
      lay_over(*old, record);
    } else {
      put(id, record);
    }
  }
}

bool RecordTable::same(const RecordTable& other) const {
  if (rows_.size() != other.rows_.size()) return false;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const auto& [id, record] = rows_[i];
    const bool in_place = other.rows_[i].first == id;
    const Json* theirs = in_place ? other.rows_[i].second.get() : other.find(id);
    if (theirs == nullptr) return false;
    if (theirs != record.get() && !python_equal(*record, *theirs)) return false;
  }
  return true;
}

}  // namespace dure
