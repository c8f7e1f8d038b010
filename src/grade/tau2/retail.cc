// The retail domain: products with their variants, users with their ways to pay, orders. The
// assistant alone has tools.
//
// Source of what they do: sierra-research/tau2-bench, domains/retail/tools.py (commit 2b80cb1f;
// names without case, as before it), data_model.py; its corners included: where several items are
// modified, each is given the price and the options of the last.
#include <algorithm>
#include <cmath>

#include "base/python_text.h"
#include "grade/python_value.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/record_table.h"

namespace dure {
namespace {

struct Retail {
  RecordTable products, users, orders;

  void settle() {}
  void update(Tau2Side side, const Json& data) {
    if (side == Tau2Side::kUser) tau2_refuse("the user has no data in this domain");
    for (const auto& [name, rows] : data.as_object("agent_data")) {
      if (name == "products") {
        products.lay_over_rows(rows);
      } else if (name == "users") {
        users.lay_over_rows(rows);
      } else if (name == "orders") {
        orders.lay_over_rows(rows);
      } else {
        tau2_refuse("agent_data: there is no '" + name + "' (products, users, orders)");
      }
    }
  }
  bool same(const Retail& other) const {
    return products.same(other.products) && users.same(other.users) && orders.same(other.orders);
  }
};

const Json& found(const RecordTable& table, const std::string& id, const char* what) {
  const Json* record = table.find(id);
  if (record == nullptr) tau2_refuse(std::string(what) + " not found");
  return *record;
}
Json& edited(RecordTable& table, const std::string& id, const char* what) {
  found(table, id, what);
  return *table.edit(id);
}
const Json& order_of(const Retail& retail, const Json& arguments) {
  return found(retail.orders, text_argument(arguments, "order_id"), "Order");
}
Json& edited_order(Retail& retail, const Json& arguments) {
  return edited(retail.orders, text_argument(arguments, "order_id"), "Order");
}
const Json& payment_method(const Retail& retail, const std::string& user_id,
                           const std::string& id) {
  const Json* method = found(retail.users, user_id, "User").at("payment_methods").find(id);
  if (method == nullptr) tau2_refuse("Payment method not found");
  return *method;
}
bool is_gift_card(const Json& method) { return method.at("source") == Json("gift_card"); }

// Onto a gift card's balance; other ways to pay keep none.
void add_to_balance(Retail& retail, const std::string& user_id, const std::string& method_id,
                    double amount) {
  if (!is_gift_card(payment_method(retail, user_id, method_id))) return;
  Json& method = edited(retail.users, user_id, "User")["payment_methods"][method_id];
  method["balance"] = rounded_to_cents(method.at("balance").as_double() + amount);
}
void require_balance(const Json& method, double amount) {
  if (is_gift_card(method) && method.at("balance").as_double() < amount)
    tau2_refuse("There is not enough on the gift card");
}

Json payment(const char* type, double amount, const std::string& method_id) {
  Json out = Json::object();
  out["transaction_type"] = type;
  out["amount"] = amount;
  out["payment_method_id"] = method_id;
  return out;
}

void require_status(const Json& order, const char* status) {
  if (order.at("status") != Json(status))
    tau2_refuse(std::string("The order is not ") + status + ": " + order.at("status").as_string());
}
// "pending (item modified)" is, too.
void require_pending_in_a_way(const Json& order) {
  if (order.at("status").as_string().find("pending") == std::string::npos)
    tau2_refuse("The order is not pending: " + order.at("status").as_string());
}

Json cancel_order(Retail& retail, const Json& arguments) {
  require_status(order_of(retail, arguments), "pending");
  const std::string& reason = text_argument(arguments, "reason");
  if (reason != "no longer needed" && reason != "ordered by mistake")
    tau2_refuse("The reason is neither 'no longer needed' nor 'ordered by mistake'");
  Json& order = edited_order(retail, arguments);
  const std::string user_id = order.at("user_id").as_string();
  Json refunds = Json::array();
  for (const Json& paid : order.at("payment_history").as_array()) {
    const std::string& method = paid.at("payment_method_id").as_string();
    refunds.push_back(payment("refund", paid.at("amount").as_double(), method));
    add_to_balance(retail, user_id, method, paid.at("amount").as_double());
  }
  order["status"] = "cancelled";
  order["cancel_reason"] = reason;
  for (const Json& refund : refunds.as_array()) order["payment_history"].push_back(refund);
  return order;
}

// Refuses what the order does not have so many times.
void require_items(const Json& order, const std::vector<std::string>& ids) {
  for (const std::string& id : ids) {
    const auto wanted = std::count(ids.begin(), ids.end(), id);
    const auto& items = order.at("items").as_array();
    const auto there = std::count_if(items.begin(), items.end(), [&](const Json& item) {
      return item.at("item_id") == Json(id);
    });
    if (wanted > there) tau2_refuse("The order has not so many of the item " + id);
  }
}

Json* item_of(Json& order, const std::string& id) {
  for (Json& item : order["items"].as_array())
    if (item.at("item_id") == Json(id)) return &item;
  return nullptr;
}

// Of the same product, and to be had.
const Json& variant_for(const Retail& retail, const Json& item, const std::string& id) {
  const Json& product = found(retail.products, item.at("product_id").as_string(), "Product");
  const Json* variant = product.at("variants").find(id);
  if (variant == nullptr) tau2_refuse("Variant not found");
  if (variant->at("available") != Json(true)) tau2_refuse("The item " + id + " is not available");
  return *variant;
}

struct Swap {
  std::vector<std::string> old_ids, new_ids;
  double price_difference = 0;
  Json last_variant;
};
enum class SameItem { kAllowed, kRefused };
Swap swap_of(const Retail& retail, const Json& order, const Json& arguments, SameItem same) {
  Swap swap{.old_ids = texts_argument(arguments, "item_ids"),
            .new_ids = texts_argument(arguments, "new_item_ids"),
            .last_variant = {}};
  require_items(order, swap.old_ids);
  if (swap.old_ids.size() != swap.new_ids.size())
    tau2_refuse("There have to be as many new items as old ones");
  Json items = order;
  for (size_t i = 0; i < swap.old_ids.size(); ++i) {
    if (same == SameItem::kRefused && swap.old_ids[i] == swap.new_ids[i])
      tau2_refuse("The new item is the old one");
    const Json& item = *item_of(items, swap.old_ids[i]);
    swap.last_variant = variant_for(retail, item, swap.new_ids[i]);
    swap.price_difference +=
        swap.last_variant.at("price").as_double() - item.at("price").as_double();
  }
  return swap;
}

Json exchange_items(Retail& retail, const Json& arguments) {
  const Json& order = order_of(retail, arguments);
  require_status(order, "delivered");
  Swap swap = swap_of(retail, order, arguments, SameItem::kAllowed);
  const double difference = rounded_to_cents(swap.price_difference);
  const std::string& method_id = text_argument(arguments, "payment_method_id");
  require_balance(payment_method(retail, order.at("user_id").as_string(), method_id), difference);
  Json& changed = edited_order(retail, arguments);
  std::sort(swap.old_ids.begin(), swap.old_ids.end());
  std::sort(swap.new_ids.begin(), swap.new_ids.end());
  changed["status"] = "exchange requested";
  changed["exchange_items"] = Json::array_of(swap.old_ids);
  changed["exchange_new_items"] = Json::array_of(swap.new_ids);
  changed["exchange_payment_method_id"] = method_id;
  changed["exchange_price_difference"] = difference;
  return changed;
}

Json modify_items(Retail& retail, const Json& arguments) {
  const Json& before = order_of(retail, arguments);
  require_status(before, "pending");
  const Swap swap = swap_of(retail, before, arguments, SameItem::kRefused);
  const double difference = swap.price_difference;
  const std::string user_id = before.at("user_id").as_string();
  const std::string& method_id = text_argument(arguments, "payment_method_id");
  require_balance(payment_method(retail, user_id, method_id), difference);
  Json& order = edited_order(retail, arguments);
  order["payment_history"].push_back(
      payment(difference > 0 ? "payment" : "refund", std::abs(difference), method_id));
  add_to_balance(retail, user_id, method_id, -difference);
  for (size_t i = 0; i < swap.old_ids.size(); ++i) {
    Json* item = item_of(order, swap.old_ids[i]);
    if (item == nullptr) tau2_refuse("Item " + swap.old_ids[i] + " not found");
    (*item)["item_id"] = swap.new_ids[i];
    (*item)["price"] = swap.last_variant.at("price");
    (*item)["options"] = swap.last_variant.at("options");
  }
  order["status"] = "pending (item modified)";
  return order;
}

Json modify_payment(Retail& retail, const Json& arguments) {
  const Json& before = order_of(retail, arguments);
  require_pending_in_a_way(before);
  const std::string user_id = before.at("user_id").as_string();
  const std::string& method_id = text_argument(arguments, "payment_method_id");
  const Json& method = payment_method(retail, user_id, method_id);
  const auto& history = before.at("payment_history").as_array();
  if (history.size() != 1 || history[0].at("transaction_type") != Json("payment"))
    tau2_refuse("The order has not exactly one payment");
  const std::string old_id = history[0].at("payment_method_id").as_string();
  if (old_id == method_id) tau2_refuse("It is paid that way already");
  const double amount = history[0].at("amount").as_double();
  require_balance(method, amount);
  Json& order = edited_order(retail, arguments);
  order["payment_history"].push_back(payment("payment", amount, method_id));
  order["payment_history"].push_back(payment("refund", amount, old_id));
  add_to_balance(retail, user_id, method_id, -amount);
  add_to_balance(retail, user_id, old_id, amount);
  return order;
}

Json address_of(const Json& arguments) {
  Json out = Json::object();
  for (const char* name : {"address1", "address2", "city", "country", "state", "zip"})
    out[name] = text_argument(arguments, name);
  return out;
}
Json modify_order_address(Retail& retail, const Json& arguments) {
  require_pending_in_a_way(order_of(retail, arguments));
  const Json address = address_of(arguments);
  Json& order = edited_order(retail, arguments);
  order["address"] = address;
  return order;
}
Json modify_user_address(Retail& retail, const Json& arguments) {
  const Json address = address_of(arguments);
  Json& user = edited(retail.users, text_argument(arguments, "user_id"), "User");
  user["address"] = address;
  return user;
}

Json return_items(Retail& retail, const Json& arguments) {
  const Json& before = order_of(retail, arguments);
  require_status(before, "delivered");
  const std::string& method_id = text_argument(arguments, "payment_method_id");
  const Json& method = payment_method(retail, before.at("user_id").as_string(), method_id);
  const Json& first = before.at("payment_history").at(size_t{0});
  if (!is_gift_card(method) && first.at("payment_method_id") != Json(method_id))
    tau2_refuse("It is returned to the way it was paid, or to a gift card");
  std::vector<std::string> ids = texts_argument(arguments, "item_ids");
  require_items(before, ids);
  std::sort(ids.begin(), ids.end());
  Json& order = edited_order(retail, arguments);
  order["status"] = "return requested";
  order["return_items"] = Json::array_of(ids);
  order["return_payment_method_id"] = method_id;
  return order;
}

Json user_by_name(Retail& retail, const Json& arguments) {
  const std::string first = python_lower(text_argument(arguments, "first_name"));
  const std::string last = python_lower(text_argument(arguments, "last_name"));
  for (const auto& [id, user] : retail.users.rows()) {
    const Json& name = user->at("name");
    if (python_lower(name.at("first_name").as_string()) == first &&
        python_lower(name.at("last_name").as_string()) == last &&
        user->at("address").at("zip") == arguments.at("zip"))
      return id;
  }
  tau2_refuse("User not found");
}
Json user_by_email(Retail& retail, const Json& arguments) {
  const std::string email = python_lower(text_argument(arguments, "email"));
  for (const auto& [id, user] : retail.users.rows())
    if (python_lower(user->at("email").as_string()) == email) return id;
  tau2_refuse("User not found");
}
Json item_details(Retail& retail, const Json& arguments) {
  const std::string& id = text_argument(arguments, "item_id");
  for (const auto& [product_id, product] : retail.products.rows())
    if (const Json* variant = product->at("variants").find(id)) return *variant;
  tau2_refuse("Item not found");
}
// Name by name, in their order.
Json product_types(Retail& retail, const Json&) {
  std::vector<std::pair<std::string, Json>> types;
  for (const auto& [id, product] : retail.products.rows())
    types.emplace_back(product->at("name").as_string(), product->at("product_id"));
  std::sort(types.begin(), types.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Json out = Json::object();
  for (const auto& [name, id] : types) out[name] = id;
  return out;
}

const Tau2Parameter kOrder = {"order_id", "Which order, with the # before it: '#W0000000'."};
const Tau2Parameter kUser = {"user_id", "Which user: 'sara_doe_496'."};
const Tau2Parameter kMethod = {"payment_method_id",
                               "One of the user's ways to pay: 'gift_card_0000000'."};
const Tau2Parameter kItems = {"item_ids", "Which of its items; one may come twice.", "texts"};
const Tau2Parameter kNewItems = {
    "new_item_ids", "What for, item by item in the same order, of the same product.", "texts"};

std::vector<Tau2Parameter> with_address(Tau2Parameter first) {
  return {std::move(first),
          {"address1", "Street and number."},
          {"address2", "What else, or empty."},
          {"city", "The city."},
          {"state", "The state: 'CA'."},
          {"country", "The country: 'USA'."},
          {"zip", "The postal code."}};
}

const Tau2Functions<Retail>& functions() {
  static const Tau2Functions<Retail> all = {
      {tau2_calculate(), [](Retail&, const Json& arguments) { return tau2_calculated(arguments); }},
      {{"cancel_pending_order",
        "Cancels a pending order and refunds it: onto a gift card at once, else within days. Only "
        "after the user said yes to it.",
        {kOrder, {"reason", "'no longer needed' or 'ordered by mistake'."}}},
       cancel_order},
      {{"exchange_delivered_order_items",
        "Exchanges items of a delivered order for others of the same products; once for an order. "
        "Only after the user said yes to it.",
        {kOrder, kItems, kNewItems, kMethod}},
       exchange_items},
      {{"find_user_id_by_name_zip",
        "Finds a user by name and postal code; by e-mail first, where the user knows it.",
        {{"first_name", "First name."}, {"last_name", "Last name."}, {"zip", "Postal code."}}},
       user_by_name},
      {{"find_user_id_by_email", "Finds a user by e-mail.", {{"email", "The address."}}},
       user_by_email},
      {{"get_order_details", "Returns an order.", {kOrder}},
       [](Retail& retail, const Json& arguments) { return order_of(retail, arguments); }},
      {{"get_product_details",
        "Returns a product with all its variants.",
        {{"product_id", "Which product; not an item's id."}}},
       [](Retail& retail, const Json& arguments) {
         return found(retail.products, text_argument(arguments, "product_id"), "Product");
       }},
      {{"get_item_details",
        "Returns a variant of a product.",
        {{"item_id", "Which item; not a product's id."}}},
       item_details},
      {{"get_user_details", "Returns a user, with the ids of their orders.", {kUser}},
       [](Retail& retail, const Json& arguments) {
         return found(retail.users, text_argument(arguments, "user_id"), "User");
       }},
      {{"list_all_product_types", "Returns the names of all products with their ids.", {}},
       product_types},
      {{"modify_pending_order_address",
        "Sets where a pending order is sent. Only after the user said yes to it.",
        with_address(kOrder)},
       modify_order_address},
      {{"modify_pending_order_items",
        "Replaces items of a pending order by others of the same products; once for an order. Only "
        "after the user said yes to it.",
        {kOrder, kItems, kNewItems, kMethod}},
       modify_items},
      {{"modify_pending_order_payment",
        "Sets how a pending order is paid. Only after the user said yes to it.",
        {kOrder, kMethod}},
       modify_payment},
      {{"modify_user_address", "Sets a user's own address. Only after the user said yes to it.",
        with_address(kUser)},
       modify_user_address},
      {{"return_delivered_order_items",
        "Takes items of a delivered order back; once for an order. The user gets an e-mail about "
        "it. Only after the user said yes to it.",
        {kOrder, kItems, kMethod}},
       return_items},
      {tau2_transfer(), [](Retail&, const Json&) { return Json(kTau2Transferred); }}};
  return all;
}

// Prices are floats, whatever the file writes.
void as_floats(Json& value) {
  if (value.is_array())
    for (Json& one : value.as_array()) as_floats(one);
  if (!value.is_object()) return;
  for (auto& [name, member] : value.as_object()) {
    const bool money = name == "price" || name == "amount" || name == "balance";
    if (money && member.is_int()) member = member.as_double();
    as_floats(member);
  }
}

}  // namespace

std::unique_ptr<Tau2World> tau2_retail_world(const Json& database, const Json&) {
  Json data = database;
  as_floats(data);
  for (auto& [id, order] : data["orders"].as_object("db.json: orders"))
    for (const char* name :
         {"cancel_reason", "exchange_items", "exchange_new_items", "exchange_payment_method_id",
          "exchange_price_difference", "return_items", "return_payment_method_id"})
      order[name];  // null where there is none
  const Retail retail{RecordTable(data.at("products"), "db.json: products"),
                      RecordTable(data.at("users"), "db.json: users"),
                      RecordTable(data.at("orders"), "db.json: orders")};
  static const Tau2Functions<Retail> none;
  return std::make_unique<Tau2TableWorld<Retail>>(retail, functions(), none);
}

}  // namespace dure
