// The YAML form of a table: models once, a row a benchmark.
#include "suite/rivals.h"

#include "base/error.h"
#include "suite/shipped.h"

namespace dure {

const RivalTable::Row* RivalTable::find(const std::string& task) const {
  for (const Row& row : rows)
    if (row.task == task) return &row;
  return nullptr;
}

RivalTable rivals_from_json(const Json& json, const std::string& where) {
  RivalTable out{.name = json.at("name").as_string(where),
                 .title = json.at("title").as_string(where),
                 .date = json.at("date").as_string(where),
                 .source = json.at("source").as_string(where)};
  for (const Json& model : json.at("models").as_array(where))
    out.models.push_back(model.as_string(where + ": models"));
  for (const Json& one : json.at("rows").as_array(where)) {
    RivalTable::Row row{.task = one.at("task").as_string(where),
                        .title = one.at("title").as_string(where)};
    const Json::Array& scores = one.at("scores").as_array(where + ": " + row.task);
    if (scores.size() != out.models.size())
      fail(ErrorCode::kInvalidArgument, "{}: {}: {} scores, and {} models", where, row.task,
           scores.size(), out.models.size());
    for (size_t i = 0; i < scores.size(); ++i) {
      if (!scores[i].is_null())
        row.scores[out.models[i]] = scores[i].as_double(where + ": " + row.task);
    }
    out.rows.push_back(std::move(row));
  }
  return out;
}

RivalTable load_rivals(const std::string& name) {
  const ShippedFile* file = find_shipped("rivals", name);
  if (file == nullptr) {
    std::string names;
    for (const std::string& one : shipped_names("rivals"))
      names += (names.empty() ? "" : ", ") + one;
    fail(ErrorCode::kNotFound, "there is no table of rivals '{}'; there are: {}", name, names);
  }
  return rivals_from_json(parse_yaml(file->text, std::string(file->name)), std::string(file->name));
}

}  // namespace dure
