// Shows openapi.json. Everything is put in as text, never as markup.
"use strict";

function make(tag, text, name) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
}

// What a schema looks like as an example, references followed, to a depth that stays readable.
function outline(schema, all, depth) {
  if (!schema || depth > 6) return "…";
  if (schema.$ref) return outline(all[schema.$ref.split("/").pop()], all, depth + 1);
  const choice = schema.anyOf || schema.oneOf;
  if (choice) return outline(choice.find((one) => one.type !== "null") || choice[0], all, depth);
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) {
    return schema.enum.length > 12 ? schema.description || "…" : schema.enum.join(" | ");
  }
  if (schema.type === "array") return [outline(schema.items, all, depth + 1)];
  if (schema.properties) {
    const members = Object.entries(schema.properties);
    return Object.fromEntries(members.map(([name, one]) => [name, outline(one, all, depth + 1)]));
  }
  if (schema.additionalProperties && typeof schema.additionalProperties === "object") {
    return { "…": outline(schema.additionalProperties, all, depth + 1) };
  }
  return schema.description || schema.format || schema.type || "any";
}

function body(content, all) {
  const [media, one] = Object.entries(content)[0];
  const part = make("div");
  part.append(make("p", media));
  if (one.schema) part.append(make("pre", JSON.stringify(outline(one.schema, all, 0), null, 2)));
  return part;
}

function show(path, method, operation, all) {
  const details = make("details");
  const summary = make("summary");
  summary.append(make("span", method.toUpperCase(), "method"), make("code", path));
  summary.append(make("span", operation.summary, "note"));
  const inside = make("div");
  if (operation.security) {
    const scopes = operation.security[0].bearer;
    inside.append(make("p", "Bearer token" + (scopes.length ? ", scope " + scopes.join(" or ") : "")));
  }
  if (operation.parameters.length) {
    const table = make("table");
    for (const one of operation.parameters) {
      const row = make("tr");
      row.append(make("td", one.name), make("td", one.in));
      row.append(make("td", String(outline(one.schema, all, 0))));
      table.append(row);
    }
    inside.append(table);
  }
  if (operation.requestBody) inside.append(make("h3", "Body"), body(operation.requestBody.content, all));
  for (const [status, answer] of Object.entries(operation.responses)) {
    inside.append(make("p", status + " " + answer.description));
    if (status < "300" && answer.content) inside.append(body(answer.content, all));
  }
  details.append(summary, inside);
  return details;
}

async function main() {
  const answer = await fetch("/openapi.json");
  const api = await answer.json();
  const all = api.components.schemas;
  document.getElementById("about").textContent = api.info.description;
  const byTag = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!byTag.has(tag)) byTag.set(tag, []);
      byTag.get(tag).push(show(path, method, operation, all));
    }
  }
  const place = document.getElementById("operations");
  place.replaceChildren();
  for (const [tag, shown] of byTag) {
    const link = make("a", tag);
    link.href = "#" + tag;
    document.getElementById("tags").append(link);
    const heading = make("h2", tag);
    heading.id = tag;
    place.append(heading, ...shown);
  }
}

main();
