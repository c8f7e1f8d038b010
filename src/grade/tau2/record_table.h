// grade/tau2/record_table.h: records by id, which copies of a world share until one changes one.
//
// A company's data are megabytes, an episode changes a few records: a copy of a table is as many
// pointers as it has rows. Not here: which tables there are, the form of a record.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace dure {

class RecordTable {
 public:
  using Row = std::pair<std::string, std::shared_ptr<Json>>;

  RecordTable() = default;
  // An object of records by their ids, in its order. Throws kInvalidArgument naming `where`.
  RecordTable(const Json& by_id, const std::string& where);

  const std::vector<Row>& rows() const { return rows_; }
  const Json* find(const std::string& id) const;  // null where there is none
  // Of this copy alone; null where there is none. What find() gave of it before is not this one.
  Json* edit(const std::string& id);
  void put(const std::string& id, Json record);  // new, or in place of the old one
  // Key by key and deeply; lists are replaced, what is not there is added.
  void lay_over_rows(const Json& by_id);
  bool same(const RecordTable& other) const;  // as Python's == has it, in whatever order

 private:
  std::vector<Row> rows_;
};

}  // namespace dure
