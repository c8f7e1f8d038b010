// Rows of a user's own file: what a bad one lacks is told by file, row and field.
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/testing.h"
#include "suite/suite.h"
#include "suite/task_items.h"

namespace dure {
namespace {

std::vector<Item> items_of(const TemporaryFolder& folder, const std::string& rows) {
  const Path path = folder.path() / "mine.jsonl";
  write_file(path, rows);
  return task_items(task_of_items_file(path, Json("exact")), {});
}

TEST(OwnItems, ABadRowIsOneLineWithFileRowAndField) {
  const TemporaryFolder folder;
  const std::string good = "{\"prompt\":\"q\",\"answer\":\"a\"}\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"answer":"a"})", "row 2 has neither prompt nor messages"},
      {R"({"prompt":null,"answer":"a"})", "row 2: prompt should be a text or a list"},
      {R"({"prompt":"","answer":"a"})", "row 2: prompt is empty"},
      {R"({"prompt":[],"answer":"a"})", "row 2: prompt is empty"},
      {R"({"prompt":5,"answer":"a"})",
       "row 2: prompt should be a text or a list of messages, not an integer"},
      {R"({"prompt":{"x":1},"answer":"a"})",
       "row 2: prompt should be a text or a list of messages, not an object"},
      {R"({"messages":[],"answer":"a"})", "row 2: messages is empty"},
      {R"({"messages":"q","answer":"a"})",
       "row 2: messages should be a list of {role, content}, not a string"},
      {R"({"messages":[{"role":"robot","content":"q"}]})", "row 2: prompt: messages[0]"},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"r"}]})",
       "row 2: the last message is the assistant's"},
      {R"({"prompt":"q","tools":5})",
       "row 2: tools should be a list of declarations, not an integer"},
      {R"({"id":"1","prompt":"q","answer":"a"})", "the id '1' comes twice"},
      {"[]", "mine.jsonl:2: a row is an object"},
      {R"({"prompt":"q")", "mine.jsonl:2: not JSON"}};
  for (const auto& [row, part] : cases) {
    const std::string text = message_of([&] { items_of(folder, good + row + "\n"); });
    EXPECT_NE(text.find(part), std::string::npos) << row << "\n" << text;
    EXPECT_NE(text.find("mine.jsonl"), std::string::npos) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
  EXPECT_NE(message_of([&] { items_of(folder, ""); }).find("mine.jsonl: it has no items"),
            std::string::npos);
}

TEST(OwnItems, PromptsAreTextsOrLists) {
  const TemporaryFolder folder;
  const std::vector<Item> items = items_of(
      folder,
      "{\"prompt\":\"q\",\"answer\":\"a\"}\n{\"prompt\":[{\"role\":\"user\",\"content\":\"q\"}]}\n"
      "{\"messages\":[{\"role\":\"user\",\"content\":\"q\"}],\"tools\":null}\n");
  ASSERT_EQ(items.size(), 3u);
  for (const Item& item : items) EXPECT_EQ(item.messages.at(0).content, "q");
}

}  // namespace
}  // namespace dure
