// Rows are read whole, joined, filtered, and filled into the task's templates one by one.
#include "suite/task_items.h"

#include <map>
#include <set>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"
#include "grade/function_call.h"
#include "suite/expression.h"
#include "suite/generated_items.h"
#include "suite/own_rows.h"
#include "suite/row_reader.h"

namespace dure {
namespace {

constexpr const char* kLabels = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

std::vector<Json> rows_of(const FoundFile& found) {
  std::vector<Json> out;
  for (const Path& path : found.paths) {
    for (Json& row : read_rows_of(path, *found.file)) {
      if (!found.file->group.empty()) row["file_group"] = found.file->group;
      if (found.paths.size() > 1) row["file_name"] = path.stem().string();
      out.push_back(std::move(row));
    }
  }
  return out;
}

// What shows solved examples: a text file's text, else its rows.
Json shots_of(const FoundFile& found) {
  std::vector<Json> rows = rows_of(found);
  if (rows.size() == 1 && rows[0].contains("text") && rows[0].size() <= 2)
    return rows[0].at("text");
  return Json(std::move(rows));
}

void join_rows(std::vector<Json>& rows, const FoundFile& found, const std::string& where) {
  const SourceFile& file = *found.file;
  std::map<std::string, Json> by_key;
  for (Json& row : rows_of(found)) {
    const Json* key = row.find(file.on);
    if (key != nullptr) by_key.emplace(text_of_value(*key), std::move(row));
  }
  for (Json& row : rows) {
    const Json* key = row.find(file.on);
    const auto other = key != nullptr ? by_key.find(text_of_value(*key)) : by_key.end();
    if (other == by_key.end()) {
      fail(ErrorCode::kCorrupt, "{}: {}: no row with {} {}", where, found.paths.front().string(),
           file.on, key != nullptr ? text_of_value(*key) : "(none)");
    }
    row[file.as] = other->second;
  }
}

// Of a split that names every row it has.
void pick_rows(std::vector<Json>& rows, const FoundFile& found, const std::string& where) {
  const SourceFile& file = *found.file;
  const std::string place = where + ": " + found.paths.front().string();
  const Json lists = load_json(found.paths.front());
  const Json* ids = lists.find(file.list);
  if (ids == nullptr) fail(ErrorCode::kCorrupt, "{}: has no field '{}'", place, file.list);
  std::set<std::string> wanted;
  for (const Json& id : ids->as_array(place)) wanted.insert(text_of_value(id));
  std::erase_if(rows, [&](const Json& row) {
    const Json* id = row.find(file.on);
    return id == nullptr || !wanted.contains(text_of_value(*id));
  });
  if (rows.size() < wanted.size()) {
    fail(ErrorCode::kCorrupt, "{}: '{}' names {} rows, and {} of them are there", place, file.list,
         wanted.size(), rows.size());
  }
}

struct Choice {
  std::string text;
  bool right = false;
};

// The letters of a question and which of them is right.
class Choices {
 public:
  Choices(const Json& form, const std::string& where) : where_(where + ": choices") {
    if (form.is_null()) return;
    for (const auto& [name, value] : form.as_object(where_)) {
      if (name == "texts") {
        texts_ = std::make_unique<Expression>(value, where_ + ": texts");
      } else if (name == "right") {
        right_ = std::make_unique<Expression>(value, where_ + ": right");
      } else if (name == "labels") {
        labels_ = value.as_string(where_ + ": labels");
      } else if (name == "shuffle") {
        shuffle_ = value.as_bool(where_ + ": shuffle");
      } else {
        fail(ErrorCode::kInvalidArgument,
             "{}: there is no field '{}' (texts, right, labels, shuffle)", where_, name);
      }
    }
    if (texts_ == nullptr || right_ == nullptr)
      fail(ErrorCode::kInvalidArgument, "{}: give texts and right", where_);
  }

  bool any() const { return texts_ != nullptr; }
  void add_to(Json& variables, const std::string& item) const {
    if (texts_ == nullptr) return;
    std::vector<Choice> choices = read(variables, item);
    if (shuffle_) {
      Rng rng(0, stream_id("choices", xxh64(item)));
      rng.shuffle(choices);
    }
    Json list = Json::array(), labels = Json::array();
    std::string options;
    for (size_t i = 0; i < choices.size(); ++i) {
      const std::string label(1, labels_[i]);
      Json one = Json::object();
      one["label"] = label;
      one["text"] = choices[i].text;
      list.push_back(std::move(one));
      labels.push_back(label);
      options += (i > 0 ? "\n" : "") + label + ". " + choices[i].text;
      if (!choices[i].right) continue;
      variables["right_label"] = label;
      variables["right_index"] = static_cast<int64_t>(i);
      variables["right_text"] = choices[i].text;
    }
    variables["choices"] = std::move(list);
    variables["labels"] = std::move(labels);
    variables["options_text"] = std::move(options);
  }

 private:
  std::vector<Choice> read(const Json& variables, const std::string& item) const {
    std::vector<Choice> out;
    const Json texts = texts_->value(variables);
    for (const Json& text : texts.as_array(where_ + ": texts"))
      out.push_back({.text = text_of_value(text)});
    if (out.empty() || out.size() > labels_.size())
      fail(ErrorCode::kCorrupt, "{}: item {}: {} choices and {} labels", where_, item, out.size(),
           labels_.size());
    out[right_place(right_->value(variables), out, item)].right = true;
    return out;
  }
  // An index from 0, a label, or the text itself.
  size_t right_place(const Json& right, const std::vector<Choice>& choices,
                     const std::string& item) const {
    if (right.is_int() && right.as_int() >= 0 && right.as_int() < std::ssize(choices))
      return static_cast<size_t>(right.as_int());
    const std::string text = text_of_value(right);
    const size_t label = text.size() == 1 ? labels_.find(text[0]) : std::string::npos;
    if (label < choices.size()) return label;
    for (size_t i = 0; i < choices.size(); ++i)
      if (choices[i].text == text) return i;
    fail(ErrorCode::kCorrupt, "{}: item {}: '{}' is none of its {} choices", where_, item, text,
         choices.size());
  }

  std::string where_, labels_ = kLabels;
  std::unique_ptr<Expression> texts_, right_;
  bool shuffle_ = false;
};

// For messages: a user's own file, or the task.
std::string place_of(const TaskSpec& task) {
  return task.own_rows ? task.origin : "task " + task.name;
}

void check_last(const std::vector<Message>& messages) {
  if (!messages.empty() && messages.back().role == Role::kAssistant)
    fail(ErrorCode::kCorrupt,
         "the last message is the assistant's: leave it out, the model is to answer");
}

class ItemMaker {
 public:
  explicit ItemMaker(const TaskSpec& task)
      : task_(task),
        where_(place_of(task)),
        keeps_(task.where.empty() ? Json() : Json("{{ " + task.where + " }}"), where_ + ": where"),
        id_(task.id, where_ + ": id"),
        group_(task.group, where_ + ": group"),
        prompt_(task.prompt, where_ + ": prompt"),
        tools_(task.tools, where_ + ": tools"),
        continuations_(part_of(task.continuations, "each"), where_ + ": continuations"),
        continuation_(part_of(task.continuations, "text"), where_ + ": continuations"),
        reference_(task.reference, where_ + ": reference"),
        keep_(task.keep, where_ + ": keep"),
        choices_(task.choices, where_) {}

  // Absent where the row is left out.
  std::optional<Item> make(Json variables, int64_t number) const {
    check_fields(variables, number);
    if (task_.own_rows) check_own_row(variables, fmt::format("{}: row {}", where_, number));
    Json row = variables;
    variables["row"] = std::move(row);
    variables["row_number"] = number;
    try {
      if (!keeps_.empty() && keeps_.value(variables) == Json(false)) return std::nullopt;
      return fill(variables, number);
    } catch (const Error& error) {
      fail(error.code(), "{}: row {}: {}", where_, number, error.what());
    }
  }

 private:
  void check_fields(const Json& row, int64_t number) const {
    for (const std::string& field : task_.fields) {
      if (!row.contains(field))
        fail(ErrorCode::kCorrupt, "{}: row {} has no field '{}'; is it another file?", where_,
             number, field);
    }
  }

  Item fill(Json& variables, int64_t number) const {
    Item item;
    item.id = task_.id.empty() ? std::to_string(number) : id_.text(variables);
    choices_.add_to(variables, item.id);
    item.group = group_.text(variables);
    item.messages = messages(prompt_.value(variables));
    if (task_.own_rows) check_last(item.messages);
    item.tools = declared(tools_.value(variables));
    item.reference = reference_.value(variables);
    item.fields = keep_.value(variables);
    if (const Json* choices = variables.find("choices"); choices != nullptr && choices_.any())
      item.fields["options"] = choice_texts(*choices);
    if (task_.mode == TaskMode::kGenerate) return item;
    const Json texts = continuations_.value(variables);
    const bool formed = task_.continuations.is_object();
    for (const Json& text : texts.as_array("continuations")) {
      variables["it"] = text;
      item.continuations.push_back(formed ? continuation_.text(variables) : text_of_value(text));
    }
    return item;
  }
  // Of {each, text}; what is no object is its own "each".
  static Json part_of(const Json& continuations, const char* name) {
    if (!continuations.is_object())
      return name == std::string_view("each") ? continuations : Json();
    return continuations.at(name);
  }
  static Json choice_texts(const Json& choices) {
    Json out = Json::array();
    for (const Json& one : choices.as_array()) out.push_back(one.at("text"));
    return out;
  }
  // BFCL's bare declarations become tools as servers and templates take them.
  static Json declared(const Json& tools) {
    const bool bare = tools.is_array() && tools.size() > 0 && tools.at(size_t{0}).contains("name");
    return bare ? openai_tools(tools) : tools;
  }
  static std::vector<Message> messages(const Json& prompt) {
    if (prompt.is_null()) return {};
    if (prompt.is_array()) return messages_from_json(prompt, "prompt");
    return {{.role = Role::kUser, .content = text_of_value(prompt)}};
  }

  const TaskSpec& task_;
  std::string where_;
  Expression keeps_, id_, group_, prompt_, tools_, continuations_, continuation_, reference_, keep_;
  Choices choices_;
};

void check_ids(const TaskSpec& task, const std::vector<Item>& items) {
  std::map<std::string, size_t> seen;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto [before, is_new] = seen.emplace(items[i].id, i);
    if (is_new) continue;
    // Of an own file every row is an item.
    const std::string rows =
        task.own_rows ? fmt::format(" (rows {} and {})", before->second + 1, i + 1) : "";
    fail(ErrorCode::kCorrupt, "{}: the id '{}' comes twice{}", place_of(task), items[i].id, rows);
  }
}

std::vector<Item> items_of_files(const TaskSpec& task, const DataFolders& folders) {
  const std::vector<FoundFile> files = find_files(task.source, folders);
  if (!all_found(files)) fail(ErrorCode::kNotFound, "{}", missing_text(task, files, folders));
  std::vector<Json> rows;
  Json shots = Json::object();
  for (const FoundFile& file : files) {
    if (file.file->use == FileUse::kShots) shots[file.file->as] = shots_of(file);
    if (file.file->use != FileUse::kRows) continue;
    std::vector<Json> more = rows_of(file);
    std::move(more.begin(), more.end(), std::back_inserter(rows));
  }
  for (const FoundFile& file : files)
    if (file.file->use == FileUse::kPick) pick_rows(rows, file, "task " + task.name);
  for (const FoundFile& file : files)
    if (file.file->use == FileUse::kJoin) join_rows(rows, file, "task " + task.name);
  const ItemMaker maker(task);
  std::vector<Item> out;
  int64_t number = 0;
  for (Json& row : rows) {
    for (const auto& [name, value] : shots.as_object()) row[name] = value;
    if (std::optional<Item> item = maker.make(std::move(row), ++number))
      out.push_back(std::move(*item));
  }
  return out;
}

}  // namespace

std::vector<Item> task_items(const TaskSpec& task, const DataFolders& folders) {
  std::vector<Item> items =
      task.source.generated.empty() ? items_of_files(task, folders) : generated_items(task);
  if (items.empty()) fail(ErrorCode::kInvalidArgument, "{}: it has no items", place_of(task));
  check_ids(task, items);
  return items;
}

std::vector<Item> spaced_items(std::vector<Item> items, int64_t count) {
  const int64_t total = std::ssize(items);
  if (count <= 0 || count >= total) return items;
  std::vector<Item> out;
  for (int64_t i = 0; i < count; ++i)
    out.push_back(std::move(items[static_cast<size_t>(i * total / count)]));
  return out;
}

}  // namespace dure
