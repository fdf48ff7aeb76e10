"""The web application: review studies, understand a result, approve it.

Pages are rendered here and work without a script, but for the pictures; the API has the same as JSON.

* `app` puts it together, from `config`, and `server` serves it; `access` says who may do what, `headers` what a browser
  may do with a page.
* `reading` reads the database for pages and API, `live` follows it for those who watch a study run.
* `decisions` puts on record what people say of a winner, `changes` gives it to its Deployment and takes it back.
* `views` are what pages show, as plain values; `pictures` turn them into charts, `templates` into HTML.
* `routes` hold one module for each group of pages, and the API. `document` is a study as one file, without a server.

It reads the database. It writes there, and changes a cluster, only where it was started with that right.
"""
