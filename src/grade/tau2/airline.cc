// The airline domain: flights by day, users with their ways to pay, reservations. The assistant
// alone has tools.
//
// Source of what they do: sierra-research/tau2-bench, domains/airline/tools.py (commit 4c7d1463;
// ids as they are written), data_model.py; its corners included: cancelling frees no seats, a
// change of flights takes none.
#include <algorithm>

#include "base/python_text.h"
#include "grade/tau2/domains.h"
#include "grade/tau2/record_table.h"

namespace dure {
namespace {

constexpr const char* kNow = "2024-05-15T15:00:00";
// A task makes no more than three of each.
constexpr std::array kNewReservations = {"HATHAT", "HATHAU", "HATHAV"};
constexpr std::array kNewCertificates = {"certificate_3221322", "certificate_3221323",
                                         "certificate_3221324"};
constexpr int64_t kInsurancePrice = 30, kBaggagePrice = 50;  // USD; insurance for each passenger

struct Airline {
  RecordTable flights, users, reservations;

  void settle() {}
  void update(Tau2Side side, const Json& data) {
    if (side == Tau2Side::kUser) tau2_refuse("the user has no data in this domain");
    for (const auto& [name, rows] : data.as_object("agent_data")) {
      if (name == "flights") {
        flights.lay_over_rows(rows);
      } else if (name == "users") {
        users.lay_over_rows(rows);
      } else if (name == "reservations") {
        reservations.lay_over_rows(rows);
      } else {
        tau2_refuse("agent_data: there is no '" + name + "' (flights, users, reservations)");
      }
    }
  }
  bool same(const Airline& other) const {
    return flights.same(other.flights) && users.same(other.users) &&
           reservations.same(other.reservations);
  }
};

const Json& found(const RecordTable& table, const std::string& id, const char* what) {
  const Json* record = table.find(id);
  if (record == nullptr) tau2_refuse(std::string(what) + " " + id + " not found");
  return *record;
}
const Json& user_of(const Airline& airline, const std::string& id) {
  return found(airline.users, id, "User");
}
const Json& reservation_of(const Airline& airline, const Json& arguments) {
  return found(airline.reservations, text_argument(arguments, "reservation_id"), "Reservation");
}
Json& edited_reservation(Airline& airline, const Json& arguments) {
  reservation_of(airline, arguments);
  return *airline.reservations.edit(text_argument(arguments, "reservation_id"));
}
const Json& flight_of(const Airline& airline, const std::string& number) {
  return found(airline.flights, number, "Flight");
}
const Json& flight_on(const Airline& airline, const std::string& number, const std::string& date) {
  const Json* day = flight_of(airline, number).at("dates").find(date);
  if (day == nullptr) tau2_refuse("There is no flight " + number + " on " + date);
  return *day;
}

// The named fields of every object, texts but `amount`.
Json::Array objects_argument(const Json& arguments, const char* name,
                             std::initializer_list<const char*> fields) {
  Json::Array out;
  for (const Json& given : arguments.at(name).as_array(name)) {
    Json one = Json::object();
    for (const char* field : fields) {
      const bool amount = std::string_view(field) == "amount";
      one[field] =
          amount ? Json(given.at(field).as_int(field)) : Json(given.at(field).as_string(field));
    }
    out.push_back(std::move(one));
  }
  return out;
}
Json::Array flight_infos(const Json& arguments) {
  return objects_argument(arguments, "flights", {"flight_number", "date"});
}
Json::Array passengers_of(const Json& arguments) {
  return objects_argument(arguments, "passengers", {"first_name", "last_name", "dob"});
}

const std::string& one_of(const Json& arguments, const char* name,
                          std::initializer_list<const char*> choices) {
  const std::string& value = text_argument(arguments, name);
  if (std::none_of(choices.begin(), choices.end(), [&](const char* one) { return value == one; }))
    tau2_refuse("There is no " + std::string(name) + " '" + value + "'");
  return value;
}

// A seat for each on a day that can be booked; as a reservation has it.
Json seats_on(const Airline& airline, const Json& info, const std::string& cabin,
              int64_t passengers) {
  const std::string& number = info.at("flight_number").as_string();
  const std::string& date = info.at("date").as_string();
  const Json& day = flight_on(airline, number, date);
  if (day.at("status") != Json("available"))
    tau2_refuse("Flight " + number + " cannot be booked on " + date);
  if (day.at("available_seats").at(cabin).as_int() < passengers)
    tau2_refuse("There are not enough seats on flight " + number);
  const Json& flight = flight_of(airline, number);
  Json out = Json::object();
  out["flight_number"] = number;
  out["origin"] = flight.at("origin");
  out["destination"] = flight.at("destination");
  out["date"] = date;
  out["price"] = day.at("prices").at(cabin);
  return out;
}

std::string new_reservation_id(const Airline& airline) {
  for (const char* id : kNewReservations)
    if (airline.reservations.find(id) == nullptr) return id;
  tau2_refuse("Too many reservations");
}

bool holds_money(const Json& method) {
  return method.at("source") == Json("gift_card") || method.at("source") == Json("certificate");
}

void check_payments(const Json& user, const Json::Array& payments, int64_t price) {
  int64_t paid = 0;
  for (const Json& one : payments) {
    const std::string& id = one.at("payment_id").as_string();
    const Json* method = user.at("payment_methods").find(id);
    if (method == nullptr) tau2_refuse("Payment method " + id + " not found");
    if (holds_money(*method) && method->at("amount").as_double() < one.at("amount").as_double())
      tau2_refuse("There is not enough on " + id);
    paid += one.at("amount").as_int();
  }
  if (paid != price)
    tau2_refuse("The price is " + std::to_string(price) + ", and paid are " + std::to_string(paid));
}

// A gift card has less then, a certificate is gone.
void take_payments(Json& user, const Json::Array& payments) {
  Json::Object& methods = user["payment_methods"].as_object();
  for (const Json& one : payments) {
    const auto method = std::find_if(methods.begin(), methods.end(), [&](const Json::Member& m) {
      return Json(m.first) == one.at("payment_id");
    });
    if (method == methods.end()) continue;
    if (method->second.at("source") == Json("gift_card")) {
      method->second["amount"] =
          method->second.at("amount").as_double() - one.at("amount").as_double();
    } else if (method->second.at("source") == Json("certificate")) {
      methods.erase(method);
    }
  }
}

Json book(Airline& airline, const Json& arguments) {
  const Json::Array infos = flight_infos(arguments), passengers = passengers_of(arguments);
  const Json::Array payments =
      objects_argument(arguments, "payment_methods", {"payment_id", "amount"});
  const std::string& user_id = text_argument(arguments, "user_id");
  const std::string& cabin = one_of(arguments, "cabin", {"business", "economy", "basic_economy"});
  const int64_t count = std::ssize(passengers);
  const Json& user = user_of(airline, user_id);
  Json out = Json::object();
  out["reservation_id"] = new_reservation_id(airline);
  out["user_id"] = user_id;
  out["origin"] = text_argument(arguments, "origin");
  out["destination"] = text_argument(arguments, "destination");
  out["flight_type"] = one_of(arguments, "flight_type", {"round_trip", "one_way"});
  out["cabin"] = cabin;
  out["flights"] = Json::array();
  out["passengers"] = Json(passengers);
  out["payment_history"] = Json(payments);
  out["created_at"] = kNow;
  out["total_baggages"] = arguments.at("total_baggages").as_int("total_baggages");
  out["nonfree_baggages"] = arguments.at("nonfree_baggages").as_int("nonfree_baggages");
  out["insurance"] = one_of(arguments, "insurance", {"yes", "no"});
  out["status"] = nullptr;

  int64_t price = kBaggagePrice * out.at("nonfree_baggages").as_int();
  if (out.at("insurance") == Json("yes")) price += kInsurancePrice * count;
  for (const Json& info : infos) {
    out["flights"].push_back(seats_on(airline, info, cabin, count));
    price += out.at("flights").as_array().back().at("price").as_int() * count;
  }
  check_payments(user, payments, price);

  for (const Json& info : infos) {
    Json& flight = *airline.flights.edit(info.at("flight_number").as_string());
    Json& seats = flight["dates"][info.at("date").as_string()]["available_seats"][cabin];
    seats = seats.as_int() - count;
  }
  Json& payer = *airline.users.edit(user_id);
  take_payments(payer, payments);
  payer["reservations"].push_back(out.at("reservation_id"));
  airline.reservations.put(out.at("reservation_id").as_string(), out);
  return out;
}

Json cancel(Airline& airline, const Json& arguments) {
  Json& reservation = edited_reservation(airline, arguments);
  const Json paid = reservation.at("payment_history");
  for (const Json& one : paid.as_array()) {
    Json refund = one;
    refund["amount"] = -one.at("amount").as_int();
    reservation["payment_history"].push_back(std::move(refund));
  }
  reservation["status"] = "cancelled";
  return reservation;
}

Json airports(Airline&, const Json&) {
  constexpr std::array<std::pair<const char*, const char*>, 20> kAirports = {
      {{"SFO", "San Francisco"}, {"JFK", "New York"},    {"LAX", "Los Angeles"},
       {"ORD", "Chicago"},       {"DFW", "Dallas"},      {"DEN", "Denver"},
       {"SEA", "Seattle"},       {"ATL", "Atlanta"},     {"MIA", "Miami"},
       {"BOS", "Boston"},        {"PHX", "Phoenix"},     {"IAH", "Houston"},
       {"LAS", "Las Vegas"},     {"MCO", "Orlando"},     {"EWR", "Newark"},
       {"CLT", "Charlotte"},     {"MSP", "Minneapolis"}, {"DTW", "Detroit"},
       {"PHL", "Philadelphia"},  {"LGA", "LaGuardia"}}};
  Json out = Json::array();
  for (const auto& [code, city] : kAirports) {
    Json one = Json::object();
    one["iata"] = code;
    one["city"] = city;
    out.push_back(std::move(one));
  }
  return out;
}

struct Search {
  std::string date;
  std::string origin;
  std::string destination = {};  // empty: any
  std::string leave_after = {};  // empty: any time
};
Json::Array direct_flights(const Airline& airline, const Search& search) {
  Json::Array out;
  for (const auto& [number, flight] : airline.flights.rows()) {
    const Json* day = flight->at("dates").find(search.date);
    const bool there =
        flight->at("origin") == Json(search.origin) && day != nullptr &&
        day->at("status") == Json("available") &&
        (search.destination.empty() || flight->at("destination") == Json(search.destination));
    const std::string& leaves = flight->at("scheduled_departure_time_est").as_string();
    if (!there || leaves < search.leave_after) continue;
    Json one = Json::object();
    one["flight_number"] = flight->at("flight_number");
    one["origin"] = flight->at("origin");
    one["destination"] = flight->at("destination");
    one["status"] = "available";
    one["scheduled_departure_time_est"] = leaves;
    one["scheduled_arrival_time_est"] = flight->at("scheduled_arrival_time_est");
    one["date"] = nullptr;
    one["available_seats"] = day->at("available_seats");
    one["prices"] = day->at("prices");
    out.push_back(std::move(one));
  }
  return out;
}

Json search_direct(Airline& airline, const Json& arguments) {
  return Json(direct_flights(airline, {.date = text_argument(arguments, "date"),
                                       .origin = text_argument(arguments, "origin"),
                                       .destination = text_argument(arguments, "destination")}));
}

// The day behind a "+1" is in May, as all flights are.
std::string day_after(const std::string& date) {
  const std::string day = date.size() >= 2 ? date.substr(date.size() - 2) : "";
  if (day.size() != 2 || day.find_first_not_of("0123456789") != std::string::npos)
    tau2_refuse("'" + date + "' is no date");
  return "2024-05-" + std::to_string(std::stoi(day) + 1);
}

Json search_one_stop(Airline& airline, const Json& arguments) {
  const std::string& date = text_argument(arguments, "date");
  const std::string& destination = text_argument(arguments, "destination");
  Json out = Json::array();
  for (Json& first :
       direct_flights(airline, {.date = date, .origin = text_argument(arguments, "origin")})) {
    const std::string arrival = first.at("scheduled_arrival_time_est").as_string();
    const std::string next = arrival.find("+1") != std::string::npos ? day_after(date) : date;
    first["date"] = date;
    for (Json& second : direct_flights(airline, {.date = next,
                                                .origin = first.at("destination").as_string(),
                                                .destination = destination,
                                                .leave_after = arrival})) {
      second["date"] = next;
      out.push_back(Json(Json::Array{first, second}));
    }
  }
  return out;
}

Json send_certificate(Airline& airline, const Json& arguments) {
  const std::string& user_id = text_argument(arguments, "user_id");
  const double amount = number_argument(arguments, "amount");
  user_of(airline, user_id);
  Json& methods = (*airline.users.edit(user_id))["payment_methods"];
  for (const char* id : kNewCertificates) {
    if (methods.contains(id)) continue;
    Json& certificate = methods[id];
    certificate["source"] = "certificate";
    certificate["id"] = id;
    certificate["amount"] = amount;
    return std::string("The user has a certificate: ") + id + ", " +
           python_json(arguments.at("amount"));
  }
  tau2_refuse("Too many certificates");
}

// Of a change: a gift card pays or is paid; a certificate does not. What costs nothing is no
// payment.
void pay_change(Airline& airline, Json& reservation, const std::string& payment_id, int64_t price) {
  const std::string& user_id = reservation.at("user_id").as_string();
  const Json* method = user_of(airline, user_id).at("payment_methods").find(payment_id);
  if (method == nullptr) tau2_refuse("Payment method not found");
  if (method->at("source") == Json("certificate"))
    tau2_refuse("A certificate does not pay for changes");
  if (method->at("source") == Json("gift_card")) {
    if (method->at("amount").as_double() < static_cast<double>(price))
      tau2_refuse("There is not enough on the gift card");
    Json& card = (*airline.users.edit(user_id))["payment_methods"][payment_id];
    card["amount"] = card.at("amount").as_double() - static_cast<double>(price);
  }
  if (price == 0) return;
  Json payment = Json::object();
  payment["payment_id"] = payment_id;
  payment["amount"] = price;
  reservation["payment_history"].push_back(std::move(payment));
}

Json update_baggages(Airline& airline, const Json& arguments) {
  const int64_t total = arguments.at("total_baggages").as_int("total_baggages");
  const int64_t nonfree = arguments.at("nonfree_baggages").as_int("nonfree_baggages");
  Json& reservation = edited_reservation(airline, arguments);
  const int64_t more = std::max<int64_t>(0, nonfree - reservation.at("nonfree_baggages").as_int());
  pay_change(airline, reservation, text_argument(arguments, "payment_id"), kBaggagePrice * more);
  reservation["total_baggages"] = total;
  reservation["nonfree_baggages"] = nonfree;
  return reservation;
}

// The reservation's own, where it has the flight in that cabin already.
const Json* kept_flight(const Json& reservation, const Json& info, const std::string& cabin) {
  if (reservation.at("cabin") != Json(cabin)) return nullptr;
  for (const Json& flight : reservation.at("flights").as_array())
    if (flight.at("flight_number") == info.at("flight_number") &&
        flight.at("date") == info.at("date"))
      return &flight;
  return nullptr;
}

Json update_flights(Airline& airline, const Json& arguments) {
  const Json::Array infos = flight_infos(arguments);
  const std::string& cabin = text_argument(arguments, "cabin");
  Json& reservation = edited_reservation(airline, arguments);
  const int64_t count = static_cast<int64_t>(reservation.at("passengers").size());
  Json flights = Json::array();
  int64_t price = 0;
  for (const Json& info : infos) {
    flight_of(airline, info.at("flight_number").as_string());
    const Json* kept = kept_flight(reservation, info, cabin);
    flights.push_back(kept != nullptr ? *kept : seats_on(airline, info, cabin, count));
    price += flights.as_array().back().at("price").as_int() * count;
  }
  for (const Json& flight : reservation.at("flights").as_array())
    price -= flight.at("price").as_int() * count;
  pay_change(airline, reservation, text_argument(arguments, "payment_id"), price);
  reservation["flights"] = std::move(flights);
  reservation["cabin"] = cabin;
  return reservation;
}

Json update_passengers(Airline& airline, const Json& arguments) {
  const Json::Array passengers = passengers_of(arguments);
  Json& reservation = edited_reservation(airline, arguments);
  if (passengers.size() != reservation.at("passengers").size())
    tau2_refuse("The number of passengers cannot change");
  reservation["passengers"] = Json(passengers);
  return reservation;
}

Json flight_status(Airline& airline, const Json& arguments) {
  return flight_on(airline, text_argument(arguments, "flight_number"),
                   text_argument(arguments, "date"))
      .at("status");
}

const Tau2Parameter kReservation = {"reservation_id", "Which reservation: 'ZFA04Y'."};
const Tau2Parameter kUser = {"user_id", "Which user: 'sara_doe_496'."};
const Tau2Parameter kOrigin = {"origin", "The airport of departure: 'SFO'."};
const Tau2Parameter kDestination = {"destination", "The airport of arrival: 'JFK'."};
const Tau2Parameter kDate = {"date", "The day, as YYYY-MM-DD."};
const Tau2Parameter kNumber = {"flight_number", "Which flight: 'HAT001'."};
const Tau2Parameter kCabin = {"cabin", "business, economy or basic_economy."};
const Tau2Parameter kPayment = {"payment_id", "One of the user's ways to pay."};
const Tau2Parameter kTotal = {"total_baggages", "Pieces of baggage.", "integer"};
const Tau2Parameter kNonfree = {"nonfree_baggages", "Those of them that cost.", "integer"};

Tau2Parameter flights_parameter(const char* description) {
  return {"flights", description, "records", true, {kNumber, kDate}};
}
Tau2Parameter passengers_parameter() {
  return {"passengers",
          "Who flies.",
          "records",
          true,
          {{"first_name", "First name."},
           {"last_name", "Last name."},
           {"dob", "Date of birth, as YYYY-MM-DD."}}};
}

Tau2Functions<Airline> bookings() {
  return {
      {{"book_reservation",
        "Books flights for passengers.",
        {kUser,
         kOrigin,
         kDestination,
         {"flight_type", "one_way or round_trip."},
         kCabin,
         flights_parameter("Each flight of the way."),
         passengers_parameter(),
         {"payment_methods",
          "Who pays how much; together the whole price.",
          "records",
          true,
          {kPayment, {"amount", "USD.", "integer"}}},
         kTotal,
         kNonfree,
         {"insurance", "yes or no."}}},
       book},
      {tau2_calculate(),
       [](Airline&, const Json& arguments) { return tau2_calculated(arguments); }},
      {{"cancel_reservation", "Cancels a whole reservation and refunds it.", {kReservation}},
       cancel},
      {{"get_reservation_details", "Returns a reservation.", {kReservation}},
       [](Airline& airline, const Json& arguments) { return reservation_of(airline, arguments); }},
      {{"get_user_details", "Returns a user, with the ids of their reservations.", {kUser}},
       [](Airline& airline, const Json& arguments) {
         return user_of(airline, text_argument(arguments, "user_id"));
       }}};
}

Tau2Functions<Airline> searches_and_changes() {
  return {{{"list_all_airports", "Returns all airports with their cities.", {}}, airports},
          {{"search_direct_flight",
            "Finds the flights between two airports on a day.",
            {kOrigin, kDestination, kDate}},
           search_direct},
          {{"search_onestop_flight",
            "Finds pairs of flights between two airports that leave on a day.",
            {kOrigin, kDestination, kDate}},
           search_one_stop},
          {{"send_certificate",
            "Gives a user a certificate. With care.",
            {kUser, {"amount", "USD.", "number"}}},
           send_certificate},
          {tau2_transfer(), [](Airline&, const Json&) { return Json(kTau2Transferred); }},
          {{"update_reservation_baggages",
            "Sets the baggage of a reservation.",
            {kReservation, kTotal, kNonfree, kPayment}},
           update_baggages},
          {{"update_reservation_flights",
            "Sets the flights and the cabin of a reservation.",
            {kReservation, kCabin,
             flights_parameter("Each flight of the whole reservation, those that stay among them."),
             kPayment}},
           update_flights},
          {{"update_reservation_passengers",
            "Sets who flies; as many as before.",
            {kReservation, passengers_parameter()}},
           update_passengers},
          {{"get_flight_status", "Returns how it stands with a flight.", {kNumber, kDate}},
           flight_status}};
}

const Tau2Functions<Airline>& functions() {
  static const Tau2Functions<Airline> all = [] {
    Tau2Functions<Airline> out = bookings();
    Tau2Functions<Airline> more = searches_and_changes();
    std::move(more.begin(), more.end(), std::back_inserter(out));
    return out;
  }();
  return all;
}

}  // namespace

std::unique_ptr<Tau2World> tau2_airline_world(const Json& database, const Json&) {
  Json data = database;
  for (auto& [id, reservation] : data["reservations"].as_object("db.json: reservations"))
    reservation["status"];  // null where there is none
  for (auto& [id, user] : data["users"].as_object("db.json: users"))
    for (auto& [method_id, method] : user["payment_methods"].as_object("db.json: users"))
      if (const Json* amount = method.find("amount")) method["amount"] = amount->as_double();
  const Airline airline{RecordTable(data.at("flights"), "db.json: flights"),
                        RecordTable(data.at("users"), "db.json: users"),
                        RecordTable(data.at("reservations"), "db.json: reservations")};
  static const Tau2Functions<Airline> none;
  return std::make_unique<Tau2TableWorld<Airline>>(airline, functions(), none);
}

}  // namespace dure
