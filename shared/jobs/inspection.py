"""Shows the operator one job of any API key: all that is kept of it, and its input."""

from shared.documents.inspection import InputDocument, InspectedJob, inspected_job
from shared.errors import JobNotFound
from shared.jobqueue import History, Records
from shared.jobqueue.record import is_job_id
from shared.json_value import read_object
from shared.log import log


class Inspection:
    """Reads jobs past their owners. One call and one command each."""

    def __init__(self, records: Records, history: History) -> None:
        self._records = records
        self._history = history

    async def job(self, job_id: str) -> InspectedJob:
        """Returns all that is kept of the job, except for its input and its output. Raises JobNotFound."""
        if not is_job_id(job_id):
            raise JobNotFound
        return inspected_job(await self._records.read(job_id))

    async def input(self, job_id: str) -> InputDocument:
        """Returns what the job was submitted with, and logs that it was read. Raises JobNotFound."""
        if not is_job_id(job_id):
            raise JobNotFound
        asked = await self._history.request(job_id)
        log.warning("input_read", job=job_id, owner=asked.owner, user=asked.user)
        return {
            "id": job_id,
            "key": asked.owner,
            "user_id": asked.user,
            "model": asked.model,
            "input": read_object(asked.input),
        }
