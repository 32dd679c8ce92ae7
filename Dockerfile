# The server, a worker, or any other command: docker run batchyard <command>
FROM python:3.12-slim

# No private PostgreSQL inside: BATCHYARD_DATABASE_URL names the database.
RUN useradd --create-home --uid 10001 batchyard
WORKDIR /app
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY src src
COPY examples examples
RUN pip install --no-cache-dir --constraint constraints.txt .

USER batchyard
ENV BATCHYARD_HOST=0.0.0.0
EXPOSE 8080
ENTRYPOINT ["batchyard"]
CMD ["serve"]
