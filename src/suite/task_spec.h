// suite/task_spec.h: a benchmark as data: where its files lie, how a row becomes a question, how
// answers are graded and counted.
//
// Owns the struct and its YAML form (docs/evaluation.md). Texts in it are Jinja templates over the
// fields of a row; one that is nothing but `{{ EXPRESSION }}` keeps the kind of its value. Not
// here: finding files (data_files.h), reading them (row_reader.h), items (task_items.h), several
// tasks as one measure (suite.h).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/options.h"

namespace dure {

// A file of a benchmark. `rows`: its rows are items. `join`: its rows are laid beside those of
// equal `on`, as the field `as`. `shots`: its rows (or its text) are the variable `as` of the
// templates, for prompts that show solved examples. `pick`: a JSON file with lists of ids by name:
// only rows whose `on` is in the one called `list` are items. `beside`: what the task's environment
// reads, by the name `as`.
enum class FileUse : uint8_t { kRows, kJoin, kShots, kPick, kBeside };
constexpr auto enum_names(FileUse) {
  return std::to_array<EnumName<FileUse>>({{FileUse::kRows, "rows"},
                                           {FileUse::kJoin, "join"},
                                           {FileUse::kShots, "shots"},
                                           {FileUse::kPick, "pick"},
                                           {FileUse::kBeside, "beside"}});
}

enum class RowFormat : uint8_t { kByName, kJsonl, kJson, kCsv, kTsv, kText };
constexpr auto enum_names(RowFormat) {
  return std::to_array<EnumName<RowFormat>>({{RowFormat::kByName, "by_name"},
                                             {RowFormat::kJsonl, "jsonl"},
                                             {RowFormat::kJson, "json"},
                                             {RowFormat::kCsv, "csv"},
                                             {RowFormat::kTsv, "tsv"},
                                             {RowFormat::kText, "text"}});
}

struct SourceFile {
  // Names of the same file in the layouts it is found in; `*` stands for anything, and then all
  // files that match are read, by name.
  std::vector<std::string> paths;
  FileUse use = FileUse::kRows;
  RowFormat format = RowFormat::kByName;  // of .jsonl, .json, .csv, .tsv, with .gz or .zst behind
  std::vector<std::string> columns;       // of a table without a header line
  std::string list;                       // of a JSON file: the field that holds the rows (or ids)
  std::string on = "id", as;
  std::string group;  // of all its rows, as the field `file_group`
  // Fields that are JSON as text, or base64 of zlib of a pickled JSON text (LiveCodeBench's tests):
  // they are unpacked.
  std::vector<std::string> unpack;
  // The field that names text files (";" between them), whose texts become the field `documents`;
  // they lie below one of `document_folders`, templates of a path beside the file.
  std::string documents;
  std::vector<std::string> document_folders;
  // JSON lines: a key that comes twice in an object is refused, and an integer beyond int64
  bool keys_once = false;
  template <typename V>
  void visit(V& v) {
    v("paths", paths, "names of the file in the layouts it comes in; * stands for anything");
    v("use", use,
      "items, rows to join to them, solved examples for prompts, ids to keep, or the "
      "environment's");
    v("format", format, "how rows are written");
    v("columns", columns, "names of the columns of a table without a header line");
    v("list", list, "of a JSON file: the field that holds the rows, or the ids");
    v("on", on, "join, pick: the field whose equal value joins");
    v("as", as, "join, shots, beside: the name that it is known by");
    v("group", group, "the field file_group of its rows");
    v("unpack", unpack, "fields that are JSON as text, also packed by zlib and base64");
    v("documents", documents, "the field that names text files, read into the field documents");
    v("document_folders", document_folders, "templates of where these lie, beside the file");
    v("keys_once", keys_once,
      "JSON lines: a key that comes twice in an object, or an integer beyond 64 bits, is refused");
  }
};

struct TaskSource {
  std::vector<SourceFile> files;
  std::string generated;    // items made by the program instead: "drills", "needles", "haystack"
  std::string repository;   // where it comes from: an address
  std::string huggingface;  // ORG/NAME of the data set
  std::string config, split = "test";  // of the data set there
  std::string licence, place;          // `place`: how to put it there, where that takes more words
  template <typename V>
  void visit(V& v) {
    v("files", files, "the files it is read from");
    v("generated", generated, "items made by the program instead: drills, needles, haystack");
    v("repository", repository, "where the files come from");
    v("huggingface", huggingface, "ORG/NAME of the data set on Hugging Face");
    v("config", config, "its configuration there");
    v("split", split, "its split there");
    v("licence", licence, "of the data");
    v("place", place, "what to do to have the files, where there is more to it than copying");
  }
  // Its rows are all there is to it: no texts beside them.
  bool documents_free() const {
    for (const SourceFile& file : files)
      if (!file.documents.empty()) return false;
    return true;
  }
};

// How an item is asked. Every field may be set by a task, a suite, a suite's entry of the task and
// the command line; the later ones win.
struct AskSettings {
  int64_t samples = 1;  // answers an item
  double temperature = 1.0, top_p = 0.95, min_p = 0;
  int64_t top_k = 0;
  double presence_penalty = 0;
  int64_t new_tokens_max = 4096;  // of one answer; an item's own limit goes before it
  int64_t turns_max = 100;        // of an item with an environment
  bool thinking = true;
  template <typename V>
  void visit(V& v) {
    v("samples", samples, "answers to every item", between(1, 10000));
    v("temperature", temperature, "of sampling; 0: the likeliest token", between(0, 10));
    v("top_p", top_p, "share of the probability that is drawn from", between(0, 1));
    v("min_p", min_p, "least probability, relative to the likeliest", between(0, 1));
    v("top_k", top_k, "tokens drawn from (0: all)", at_least(0));
    v("presence_penalty", presence_penalty, "of tokens said before", between(-2, 2));
    v("new_tokens_max", new_tokens_max, "longest answer", at_least(1));
    v("turns_max", turns_max, "answers of one conversation with an environment", at_least(1));
    v("thinking", thinking, "answers begin with reasoning");
  }
  bool operator==(const AskSettings&) const = default;
};
// Sets what `json` names. Throws kInvalidArgument, naming `where` and the field.
void lay_over(AskSettings& settings, const Json& json, const std::string& where);
// Whether AskSettings has it.
bool is_ask_field(const std::string& name);

// Continuations of an item are scored where the mode is log_likelihood: behind the texts of its
// messages, with no chat format around.
enum class TaskMode : uint8_t { kGenerate, kLogLikelihood };
constexpr auto enum_names(TaskMode) {
  return std::to_array<EnumName<TaskMode>>(
      {{TaskMode::kGenerate, "generate"}, {TaskMode::kLogLikelihood, "log_likelihood"}});
}
// The messages in the model's chat format, or their texts as they are, for the model to go on with.
enum class PromptForm : uint8_t { kChat, kPlain };
constexpr auto enum_names(PromptForm) {
  return std::to_array<EnumName<PromptForm>>(
      {{PromptForm::kChat, "chat"}, {PromptForm::kPlain, "plain"}});
}
// How `tools` declares: as OpenAI's API does, or as BFCL is published (function_call.h).
enum class ToolForm : uint8_t { kOpenAi, kBfcl };
constexpr auto enum_names(ToolForm) {
  return std::to_array<EnumName<ToolForm>>(
      {{ToolForm::kOpenAi, "openai"}, {ToolForm::kBfcl, "bfcl"}});
}
// Of the items' scores: each counts the same, or each group does.
enum class GroupMean : uint8_t { kItems, kGroups };
constexpr auto enum_names(GroupMean) {
  return std::to_array<EnumName<GroupMean>>(
      {{GroupMean::kItems, "items"}, {GroupMean::kGroups, "groups"}});
}

struct TaskSpec {
  std::string name, title, about, category;
  TaskSource source;
  std::vector<std::string> fields;  // that every row has
  std::string where;                // an expression: rows for which it is false are left out
  std::string id, group;            // templates; id empty: the row's number
  Json choices;  // {texts, right, labels, shuffle}: of a multiple-choice question; or null
  Json prompt;   // a template (of the user's message), or a list of {role, content}; or a template
                 // of such a list
  // Templates, or null. `continuations` is a list, or {each: a list, text: a template over `it`}.
  Json tools, continuations, reference;
  Json keep;         // an object of templates: Item::fields; or null
  Json grader;       // as make_grader() takes it; null with an environment
  Json environment;  // a name or an object with "name": conversations of several turns
  TaskMode mode = TaskMode::kGenerate;
  PromptForm form = PromptForm::kChat;
  ToolForm tool_form = ToolForm::kOpenAi;
  std::vector<std::string> stop;     // texts that end an answer
  std::string metric = "mean";       // metrics.h lists them; the headline
  std::vector<std::string> metrics;  // further ones
  GroupMean mean = GroupMean::kItems;
  bool own_rows = false;  // a user's own items: each row is checked as own_rows.h says
  Json ask;               // its published settings: fields of AskSettings; or null
  Json generator;         // options of `source.generated`; or null
  std::string origin;     // the file it was read from, or "shipped": for errors

  template <typename V>
  void visit(V& v) {
    v("name", name, "what suites call it");
    v("title", title, "as reports call it");
    v("about", about, "one sentence");
    v("category", category, "knowledge, math, code, ...");
    v("source", source, "where its items come from");
    v("fields", fields, "fields that every row has");
    v("where", where, "an expression: rows for which it is false are left out");
    v("id", id, "template of an item's identity (empty: the number of its row)");
    v("group", group, "template of its subject, language or kind");
    v("mode", mode, "answers are sampled, or continuations scored");
    v("form", form, "messages in the model's chat format, or their texts as they are");
    v("tool_form", tool_form, "how tools are declared");
    v("stop", stop, "texts that end an answer");
    v("metric", metric, "the headline: mean, pass@K, all@K, majority@K, or a part of the grade");
    v("metrics", metrics, "further ones");
    v("mean", mean, "every item counts the same, or every group");
    v("own_rows", own_rows, "rows are own items (own_rows.h), and checked as such");
  }
  std::string label() const { return title.empty() ? name : title; }
};

// Throws kInvalidArgument naming `origin` and the field.
TaskSpec task_from_json(const Json& json, const std::string& origin);
Json task_to_json(const TaskSpec& task);

}  // namespace dure
