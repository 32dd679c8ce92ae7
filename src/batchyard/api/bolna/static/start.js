const documents = {
  calls: "/openapi.json",
  shipments: "/api/v2/openapi.json",
};
const wanted = new URLSearchParams(location.search).get("document");

SwaggerUIBundle({
  url: documents[wanted] ?? documents.calls,
  dom_id: "#document",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
